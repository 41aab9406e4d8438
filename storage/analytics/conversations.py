"""Views about what is said: how much, how fast, and how each conversation does."""

from __future__ import annotations

from typing import get_args

from storage.analytics.declaration import ANSWERS, MEMBERS, SAID, AnalyticsView
from storage.fields import Step

PHASES = {
    "FOUNDATION": ("Foundation",),
    "ATTRACT": ("Hook", "Gift", "Identify"),
    "CONVERT": ("Engage", "Sell", "Nurture"),
    "GROW": ("Upsell", "Educate", "Share"),
}
"""The ten steps, grouped."""

_STEPS = ", ".join(
    f"({get_args(Step).index(step) + 1}, '{phase}', '{step}')" for phase, steps in PHASES.items() for step in steps
)

DAILY_ACTIVITY = AnalyticsView(
    name="dailyActivity",
    comment="Messages and who was active, one row per day (UTC) with messages; without deleted and system messages.",
    columns={
        "day": "the day, UTC",
        "messages": "messages posted",
        "participants": "users and agents who posted",
        "users": "users who posted",
        "agents": "agents that posted",
        "conversations": "conversations with a message",
    },
    sql=f"""SELECT CAST("createdAt" AS DATE) AS day, count(*), count(DISTINCT "authorId"),
        count(DISTINCT "authorId") FILTER ("authorKind" = 'user'),
        count(DISTINCT "authorId") FILTER ("authorKind" = 'agent'), count(DISTINCT "conversationId")
        FROM ({SAID}) GROUP BY day""",
    example='SELECT day, messages, participants FROM "dailyActivity" ORDER BY day',
)

RESPONSE_TIMES = AnalyticsView(
    name="responseTimes",
    comment="How fast each author answers: the time from a message to the next one, if that is by somebody else in the "
    "same conversation; without deleted and system messages.",
    columns={
        "memberId": "the user or agent who answered",
        "name": "their name",
        "kind": "user or agent",
        "answers": "messages directly after one by somebody else",
        "medianSeconds": "half of the answers came within this time",
        "p90Seconds": "nine of ten answers came within this time",
        "slowestSeconds": "the longest time",
    },
    sql=f"""SELECT a."authorId", any_value(m.name), any_value(a."authorKind"), count(*),
        round(quantile_cont(a.ms, 0.5) / 1000, 3), round(quantile_cont(a.ms, 0.9) / 1000, 3), max(a.ms) / 1000
        FROM ({ANSWERS}) a LEFT JOIN ({MEMBERS}) m ON m._id = a."authorId" GROUP BY a."authorId" """,
    example='SELECT name, answers, "medianSeconds", "p90Seconds" FROM "responseTimes" ORDER BY "medianSeconds"',
)

CONVERSATION_HEALTH = AnalyticsView(
    name="conversationHealth",
    comment="How each conversation does, also the empty ones; removed participants, deleted and system messages do not "
    "count.",
    columns={
        "conversationId": "the conversation",
        "title": "its title",
        "groupId": "the group it belongs to, if any",
        "participants": "users and agents that take part now",
        "authors": "users and agents that posted",
        "messages": "messages posted",
        "lastMessageAt": "time of its last message, UTC",
        "lastAuthorId": "who posted it",
        "lastAuthorKind": "user or agent",
        "busiestId": "who posted most",
        "busiestShare": "their share of the messages, 0 to 1",
        "unanswered": "whether a user had the last word while others take part: somebody may wait for an answer",
    },
    sql=f"""WITH authors AS (
            SELECT "conversationId", "authorId", "authorKind", count(*) AS messages, max(seq) AS seq,
            max("createdAt") AS "lastAt" FROM ({SAID}) GROUP BY ALL
        ), said AS (
            SELECT "conversationId", count(*) AS authors, sum(messages) AS messages, max("lastAt") AS "lastAt",
            arg_max("authorId", ("lastAt", seq)) AS "lastId", arg_max("authorKind", ("lastAt", seq)) AS "lastKind",
            arg_max("authorId", (messages, seq)) AS busiest, max(messages) AS most FROM authors GROUP BY ALL
        ), taking AS (
            SELECT "conversationId", count(*) AS participants FROM "conversationParticipants"
            WHERE NOT "isRemoved" GROUP BY ALL
        )
        SELECT c._id, c.title, c."groupId", coalesce(t.participants, 0), coalesce(s.authors, 0),
        CAST(coalesce(s.messages, 0) AS BIGINT), s."lastAt", s."lastId", s."lastKind", s.busiest,
        round(s.most / s.messages, 3), coalesce(s."lastKind" = 'user' AND t.participants > 1, false)
        FROM conversations c LEFT JOIN said s ON s."conversationId" = c._id
        LEFT JOIN taking t ON t."conversationId" = c._id""",
    example='SELECT "conversationId", title, "lastMessageAt" FROM "conversationHealth" WHERE unanswered '
    'ORDER BY "lastMessageAt" LIMIT 20',
)

STEP_FUNNEL = AnalyticsView(
    name="stepFunnel",
    comment="The ten steps as a funnel, from the steps of messages; always ten rows, without deleted messages.",
    columns={
        "position": "1 to 10, the order of the steps",
        "phase": "FOUNDATION, ATTRACT, CONVERT or GROW",
        "step": "the step",
        "messages": "messages of this step",
        "conversations": "conversations with a message of this step",
        "authors": "users and agents that posted one",
        "reached": "conversations that came to this step or further",
        "shareOfPrevious": "reached, as a share of that of the step before, 0 to 1",
    },
    sql=f"""WITH steps (position, phase, step) AS (VALUES {_STEPS}),
        said AS (SELECT s.position, m."conversationId", m."authorId"
            FROM ({SAID}) m JOIN steps s ON s.step = m.step),
        counted AS (SELECT position, count(*) AS messages, count(DISTINCT "conversationId") AS conversations,
            count(DISTINCT "authorId") AS authors FROM said GROUP BY position),
        furthest AS (SELECT position, count(*) AS ended FROM (
            SELECT "conversationId", max(position) AS position FROM said GROUP BY "conversationId") GROUP BY position),
        funnel AS (SELECT s.*, coalesce(c.messages, 0) AS messages, coalesce(c.conversations, 0) AS conversations,
            coalesce(c.authors, 0) AS authors,
            CAST(coalesce(sum(f.ended) OVER (ORDER BY s.position DESC), 0) AS BIGINT) AS reached
            FROM steps s LEFT JOIN counted c ON c.position = s.position
            LEFT JOIN furthest f ON f.position = s.position)
        SELECT *, round(reached / nullif(lag(reached) OVER (ORDER BY position), 0), 3) FROM funnel""",
    example='SELECT phase, step, messages, reached, "shareOfPrevious" FROM "stepFunnel" ORDER BY position',
)

VIEWS = (DAILY_ACTIVITY, RESPONSE_TIMES, CONVERSATION_HEALTH, STEP_FUNNEL)
