"""Views about users and agents: who does what, and how they stand to each other."""

from __future__ import annotations

from storage.analytics.declaration import ANSWERS, MEMBERS, NOW, SAID, TEXT_CHARS, WAITS, AnalyticsView

_OPEN = "status IN ('pending', 'fired')"
"""Reminders that nobody has read yet."""

AGENT_LEADERBOARD = AnalyticsView(
    name="agentLeaderboard",
    comment="What each agent did and what came of it; without deactivated agents, deleted messages and what hangs on "
    "those.",
    columns={
        "agentId": "the agent",
        "name": "its name",
        "messages": "messages it posted",
        "conversations": "conversations it posted in",
        "reactionsReceived": "reactions of others to its messages",
        "commentsReceived": "comments of others on its messages",
        "commentsWritten": "comments it wrote",
        "answers": "messages directly after one by somebody else",
        "medianResponseSeconds": "half of these came within this time",
        "knowledgeAdded": "knowledge it owns",
        "lastMessageAt": "time of its last message, UTC",
    },
    sql=f"""WITH posted AS (
            SELECT "authorId", count(*) AS messages, count(DISTINCT "conversationId") AS conversations,
            max("createdAt") AS "lastAt", count(ms) AS answers, round(quantile_cont(ms, 0.5) / 1000, 3) AS seconds
            FROM ({WAITS}) WHERE "authorKind" = 'agent' GROUP BY "authorId"
        ), written AS (
            SELECT c."messageId", coalesce(p."userId", p."agentId") AS "byId"
            FROM comments c JOIN "conversationParticipants" p ON p._id = c."authorParticipantId"
        ), received AS (
            SELECT m."authorId", count(*) FILTER (r.reacted) AS reactions, count(*) FILTER (NOT r.reacted) AS comments
            FROM (SELECT "messageId", coalesce("userId", "agentId") AS "byId", true AS reacted FROM reactions
                UNION ALL SELECT "messageId", "byId", false FROM written) r
            JOIN ({SAID}) m ON m._id = r."messageId" WHERE r."byId" <> m."authorId" GROUP BY m."authorId"
        ), commenting AS (SELECT "byId", count(*) AS n FROM written GROUP BY "byId"),
        known AS (SELECT "ownerId", count(*) AS n FROM knowledge GROUP BY "ownerId")
        SELECT a._id, a.name, coalesce(p.messages, 0), coalesce(p.conversations, 0), coalesce(r.reactions, 0),
        coalesce(r.comments, 0), coalesce(c.n, 0), coalesce(p.answers, 0), p.seconds, coalesce(k.n, 0), p."lastAt"
        FROM agents a LEFT JOIN posted p ON p."authorId" = a._id LEFT JOIN received r ON r."authorId" = a._id
        LEFT JOIN commenting c ON c."byId" = a._id LEFT JOIN known k ON k."ownerId" = a._id
        WHERE a."deactivatedAt" IS NULL""",
    example='SELECT name, messages, "reactionsReceived", "medianResponseSeconds", "knowledgeAdded" '
    'FROM "agentLeaderboard" ORDER BY messages DESC LIMIT 20',
)

CRM_CONTACTS = AnalyticsView(
    name="crmContacts",
    comment="Users as contacts: when they were last in touch, what is open and who looks after them; without "
    "deactivated users, and only conversations they take part in now.",
    columns={
        "userId": "the user",
        "name": "their name",
        "email": "their address",
        "conversations": "conversations they take part in",
        "messages": "messages they posted there",
        "lastTouchAt": "the last message in one of these, by anybody, UTC",
        "lastWroteAt": "their own last message, UTC",
        "openReminders": "reminders for them or about them that are not read",
        "nextReminderAt": "when the first of these is due, UTC",
        "nextEventAt": "start of their next event, counted from now, UTC",
        "nextEvent": "its title",
        "step": "step of the last message that has one in their conversations",
        "ownerId": "who looks after them: of the others, whoever posted most in their conversations",
        "ownerName": "their name",
    },
    sql=f"""WITH authors AS (
            SELECT "conversationId", "authorId", count(*) AS messages, max(seq) AS seq, max("createdAt") AS "lastAt",
            max(seq) FILTER (step IS NOT NULL) AS "stepSeq", arg_max(step, seq) FILTER (step IS NOT NULL) AS step
            FROM ({SAID}) GROUP BY ALL
        ), places AS (
            SELECT "userId", "conversationId" FROM "conversationParticipants"
            WHERE kind = 'user' AND NOT "isRemoved" GROUP BY ALL
        ), around AS (
            SELECT p."userId", a.* FROM places p JOIN authors a ON a."conversationId" = p."conversationId"
        ), talk AS (
            SELECT "userId", max("lastAt") AS "lastAt", arg_max(step, "stepSeq") AS step,
            max("lastAt") FILTER ("authorId" = "userId") AS "wroteAt",
            sum(messages) FILTER ("authorId" = "userId") AS messages FROM around GROUP BY "userId"
        ), owners AS (
            SELECT "userId", arg_max("authorId", (messages, seq)) AS "ownerId" FROM (
                SELECT "userId", "authorId", sum(messages) AS messages, max(seq) AS seq FROM around
                WHERE "authorId" <> "userId" GROUP BY ALL) GROUP BY "userId"
        ), taking AS (SELECT "userId", count(*) AS n FROM places GROUP BY "userId"),
        reminding AS (
            SELECT "userId", count(*) AS n, min("remindAt") AS "dueAt" FROM (
                SELECT _id, "userId", "remindAt" FROM reminders WHERE {_OPEN} AND "userId" IS NOT NULL
                UNION SELECT _id, "relatedEntity", "remindAt" FROM reminders WHERE {_OPEN}) GROUP BY "userId"
        ), meeting AS (
            SELECT "userId", min("startTime") AS "startTime", arg_min(title, "startTime") AS title FROM (
                SELECT _id, unnest(participants) AS "userId", title, "startTime" FROM events
                UNION SELECT _id, "createdBy", title, "startTime" FROM events)
            WHERE "startTime" > {NOW} GROUP BY "userId"
        )
        SELECT u._id, u.name, u.email, coalesce(p.n, 0), CAST(coalesce(t.messages, 0) AS BIGINT), t."lastAt",
        t."wroteAt", coalesce(r.n, 0), r."dueAt", e."startTime", e.title, t.step, o."ownerId", m.name
        FROM users u LEFT JOIN taking p ON p."userId" = u._id LEFT JOIN talk t ON t."userId" = u._id
        LEFT JOIN reminding r ON r."userId" = u._id LEFT JOIN meeting e ON e."userId" = u._id
        LEFT JOIN owners o ON o."userId" = u._id LEFT JOIN ({MEMBERS}) m ON m._id = o."ownerId"
        WHERE u."deactivatedAt" IS NULL""",
    example='SELECT name, "lastTouchAt", "openReminders", "nextEventAt", step, "ownerName" FROM "crmContacts" '
    'ORDER BY "lastTouchAt" DESC NULLS LAST LIMIT 20',
)

_PEOPLE = '(SELECT _id, coalesce("userId", "agentId") AS "memberId" FROM "conversationParticipants")'
_TALK = f"""(SELECT DISTINCT "userId", "conversationId" FROM "conversationParticipants"
    WHERE kind = 'user' AND NOT "isRemoved") p
    JOIN "conversationMessages" m ON m."conversationId" = p."conversationId"
    AND m.kind = 'participant' AND m.status IS DISTINCT FROM 'deleted'
    JOIN {_PEOPLE} a ON a._id = m."authorParticipantId" """
"""Who takes part (p), what is said there (m) and by whom (a)."""

CONTACT_TIMELINE = AnalyticsView(
    name="contactTimeline",
    comment="Everything around a user: what is said in conversations they take part in, their events, reminders, "
    "reactions and comments; without deleted and system messages. Filter by userId and order by happenedAt.",
    columns={
        "userId": "the user around whom it happened",
        "happenedAt": "when it was said or done, starts or is due, UTC",
        "kind": "message, comment, reaction, event or reminder",
        "what": f"its text, at most {TEXT_CHARS} letters",
        "byId": "who said, did or planned it; empty for reminders",
        "conversationId": "where, if in a conversation",
        "rowId": "id of the row in the table of that kind",
    },
    # No WITH: what it names is computed in full, whichever user is asked for.
    sql=f"""SELECT p."userId", m."createdAt", 'message', left(m.content, {TEXT_CHARS}), a."memberId",
        m."conversationId", m._id FROM {_TALK}
        UNION ALL
        SELECT p."userId", c."createdAt", 'comment', left(c.content, {TEXT_CHARS}), b."memberId",
        m."conversationId", c._id FROM {_TALK}
        JOIN comments c ON c."messageId" = m._id JOIN {_PEOPLE} b ON b._id = c."authorParticipantId"
        UNION ALL
        SELECT p."userId", r."createdAt", 'reaction', r.type, coalesce(r."userId", r."agentId"),
        m."conversationId", r._id FROM {_TALK} JOIN reactions r ON r."messageId" = m._id
        WHERE p."userId" = r."userId" OR p."userId" = a."memberId"
        UNION ALL
        SELECT e."userId", e."startTime", 'event', left(e.title, {TEXT_CHARS}), e."createdBy", NULL, e._id FROM (
            SELECT _id, unnest(participants) AS "userId", "startTime", title, "createdBy" FROM events
            UNION SELECT _id, "createdBy", "startTime", title, "createdBy" FROM events) e
        JOIN users u ON u._id = e."userId"
        UNION ALL
        SELECT r."userId", r."remindAt", 'reminder', left(r.message, {TEXT_CHARS}), NULL, NULL, r._id FROM (
            SELECT _id, "userId", "remindAt", message FROM reminders
            UNION SELECT _id, "relatedEntity", "remindAt", message FROM reminders) r
        JOIN users u ON u._id = r."userId" """,
    example='SELECT "happenedAt", kind, what, "byId" FROM "contactTimeline" '
    'WHERE "userId" = \'user_1\' ORDER BY "happenedAt" DESC LIMIT 50',
)

SOCIAL_GRAPH = AnalyticsView(
    name="socialGraph",
    comment="Who follows whom and who answers whom, one row per pair and kind; without deleted and system messages.",
    columns={
        "fromId": "who follows or answers",
        "fromName": "their name",
        "fromKind": "user or agent",
        "toId": "who is followed or answered",
        "toName": "their name",
        "toKind": "user or agent",
        "kind": "follows or answers",
        "weight": "1 for follows; how many messages of the one come directly after one of the other",
        "lastAt": "when it began (follows) or last happened (answers), UTC",
    },
    sql=f"""WITH members AS ({MEMBERS}), edges AS (
            SELECT "followerId" AS "fromId", "followeeId" AS "toId", 'follows' AS kind, 1 AS weight,
            min("createdAt") AS "lastAt" FROM follows GROUP BY ALL
            UNION ALL
            SELECT "authorId", "answeredId", 'answers', count(*), max("createdAt") FROM ({ANSWERS}) GROUP BY ALL
        )
        SELECT e."fromId", f.name, f.kind, e."toId", t.name, t.kind, e.kind, e.weight, e."lastAt" FROM edges e
        LEFT JOIN members f ON f._id = e."fromId" LEFT JOIN members t ON t._id = e."toId" """,
    example='SELECT "fromName", "toName", weight FROM "socialGraph" WHERE kind = \'answers\' '
    "ORDER BY weight DESC LIMIT 20",
)

VIEWS = (AGENT_LEADERBOARD, CRM_CONTACTS, CONTACT_TIMELINE, SOCIAL_GRAPH)
