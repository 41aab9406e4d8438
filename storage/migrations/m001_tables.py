"""The 16 application tables and what the store keeps about itself."""

STATEMENTS = (
    "CREATE TABLE meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)",
    'CREATE TABLE aliases (_id VARCHAR PRIMARY KEY, "table" VARCHAR NOT NULL, seq BIGINT NOT NULL)',
    "CREATE TABLE requests (key VARCHAR PRIMARY KEY, arguments VARCHAR NOT NULL, kind VARCHAR NOT NULL, "
    "result JSON NOT NULL, keptUntil TIMESTAMP NOT NULL)",
    'CREATE TABLE "users" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"name" VARCHAR NOT NULL, "email" VARCHAR NOT NULL, "image" VARCHAR, "emailVerificationTime" '
    'TIMESTAMP, "phone" VARCHAR, "phoneVerificationTime" TIMESTAMP, "isAnonymous" BOOLEAN, '
    '"deactivatedAt" TIMESTAMP, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "agents" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"name" VARCHAR NOT NULL, "description" VARCHAR NOT NULL, "kind" VARCHAR NOT NULL, "personality" '
    'VARCHAR, "avatarUrl" VARCHAR, "goal" VARCHAR, "systemPrompt" VARCHAR, "instructions" VARCHAR, '
    '"delegatesTo" VARCHAR[], "tools" VARCHAR[], "tags" VARCHAR[], "model" VARCHAR, "knowledge" JSON, '
    '"memories" JSON, "attachedPrompts" VARCHAR[], "createdBy" VARCHAR, "updatedAt" TIMESTAMP, '
    '"updatedBy" VARCHAR, "visibility" VARCHAR, "deactivatedAt" TIMESTAMP, "createdAt" TIMESTAMP NOT '
    "NULL)",
    'CREATE TABLE "tools" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"name" VARCHAR NOT NULL, "description" VARCHAR NOT NULL, "config" JSON, "createdBy" VARCHAR, '
    '"createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "prompts" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"title" VARCHAR NOT NULL, "template" VARCHAR NOT NULL, "step" VARCHAR NOT NULL, "description" '
    'VARCHAR, "requiredContext" VARCHAR[], "outputType" VARCHAR, "tags" VARCHAR[], "status" VARCHAR, '
    '"createdBy" VARCHAR, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "conversations" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT '
    'NULL, "title" VARCHAR NOT NULL, "createdBy" VARCHAR NOT NULL, "lastMessageTime" TIMESTAMP, "tags" '
    'VARCHAR[], "groupId" VARCHAR, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "conversationParticipants" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" '
    'BIGINT NOT NULL, "kind" VARCHAR NOT NULL, "conversationId" VARCHAR NOT NULL, "userId" VARCHAR, '
    '"agentId" VARCHAR, "status" VARCHAR NOT NULL, "isRemoved" BOOLEAN NOT NULL, "addedAt" TIMESTAMP NOT '
    'NULL, "lastReadSeq" BIGINT, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "conversationMessages" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT '
    'NOT NULL, "conversationId" VARCHAR NOT NULL, "authorParticipantId" VARCHAR NOT NULL, "kind" VARCHAR '
    'NOT NULL, "type" VARCHAR, "step" VARCHAR, "status" VARCHAR, "tags" VARCHAR[], "content" VARCHAR NOT '
    'NULL, "attachments" JSON, "vector" FLOAT[], "meta" JSON, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "agentTools" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"agentId" VARCHAR NOT NULL, "toolId" VARCHAR NOT NULL, "config" JSON, "createdAt" TIMESTAMP NOT '
    "NULL)",
    'CREATE TABLE "attachments" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL,'
    ' "ownerType" VARCHAR NOT NULL, "ownerId" VARCHAR NOT NULL, "promptId" VARCHAR NOT NULL, "createdBy" '
    'VARCHAR, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "knowledge" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"ownerType" VARCHAR NOT NULL, "ownerId" VARCHAR NOT NULL, "content" VARCHAR NOT NULL, "vector" '
    'FLOAT[], "tags" VARCHAR[], "sources" VARCHAR[], "supersedes" VARCHAR, "createdAt" TIMESTAMP NOT '
    "NULL)",
    'CREATE TABLE "tags" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, "name"'
    ' VARCHAR NOT NULL, "color" VARCHAR, "createdBy" VARCHAR, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "reactions" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"messageId" VARCHAR NOT NULL, "userId" VARCHAR, "agentId" VARCHAR, "type" VARCHAR NOT NULL, '
    '"createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "comments" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"messageId" VARCHAR NOT NULL, "authorParticipantId" VARCHAR NOT NULL, "content" VARCHAR NOT NULL, '
    '"createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "follows" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"followerId" VARCHAR NOT NULL, "followeeId" VARCHAR NOT NULL, "kind" VARCHAR NOT NULL, "createdAt" '
    "TIMESTAMP NOT NULL)",
    'CREATE TABLE "events" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"title" VARCHAR NOT NULL, "description" VARCHAR, "startTime" TIMESTAMP NOT NULL, "endTime" TIMESTAMP'
    ' NOT NULL, "createdBy" VARCHAR NOT NULL, "participants" VARCHAR[], "tags" VARCHAR[], "createdAt" '
    "TIMESTAMP NOT NULL)",
    'CREATE TABLE "reminders" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT NULL, '
    '"userId" VARCHAR, "agentId" VARCHAR, "message" VARCHAR NOT NULL, "remindAt" TIMESTAMP NOT NULL, '
    '"relatedEntity" VARCHAR, "status" VARCHAR, "firedAt" TIMESTAMP, "createdAt" TIMESTAMP NOT NULL)',
)
