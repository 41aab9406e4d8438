"""`conversationParticipants.lastMentionSeq`. The table is made anew, for rows are appended by the place of columns."""

STATEMENTS = (
    'ALTER TABLE "conversationParticipants" RENAME TO "conversationParticipantsBefore"',
    'CREATE TABLE "conversationParticipants" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" '
    'BIGINT NOT NULL, "kind" VARCHAR NOT NULL, "conversationId" VARCHAR NOT NULL, "userId" VARCHAR, '
    '"agentId" VARCHAR, "status" VARCHAR NOT NULL, "isRemoved" BOOLEAN NOT NULL, "addedAt" TIMESTAMP NOT '
    'NULL, "lastReadSeq" BIGINT, "lastMentionSeq" BIGINT, "createdAt" TIMESTAMP NOT NULL)',
    'INSERT INTO "conversationParticipants" BY NAME SELECT * FROM "conversationParticipantsBefore" ORDER BY seq',
    'DROP TABLE "conversationParticipantsBefore"',
)
