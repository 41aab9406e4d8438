"""Views about what is known and how things are tagged."""

from __future__ import annotations

from storage.analytics.declaration import MEMBERS, TEXT_CHARS, AnalyticsView

_CITED = """SELECT source, count(*) AS n, max("createdAt") AS "lastAt" FROM (
    SELECT DISTINCT _id, unnest(sources) AS source, "createdAt" FROM knowledge) GROUP BY source"""
_REPLACED = """SELECT supersedes, arg_max(_id, seq) AS "byId" FROM knowledge
    WHERE supersedes IS NOT NULL GROUP BY supersedes"""

KNOWLEDGE_COVERAGE = AnalyticsView(
    name="knowledgeCoverage",
    comment="How much is known, by owner and tag; a row with two tags counts under both, one without under none.",
    columns={
        "ownerType": "agent or user",
        "ownerId": "whose knowledge it is",
        "ownerName": "their name",
        "tag": "the tag; empty for knowledge without tags",
        "entries": "rows of knowledge",
        "current": "of these, not superseded by another",
        "superseded": "of these, superseded by another",
        "cited": "of these, named as a source by other knowledge",
        "withSources": "of these, with sources of their own",
        "lastAddedAt": "when the newest was added, UTC",
    },
    sql=f"""SELECT k."ownerType", k."ownerId", any_value(m.name), k.tag, count(*),
        count(*) FILTER (r.supersedes IS NULL), count(*) FILTER (r.supersedes IS NOT NULL),
        count(*) FILTER (c.source IS NOT NULL), count(*) FILTER (len(k.sources) > 0), max(k."createdAt")
        FROM (SELECT *, unnest(CASE WHEN len(tags) > 0 THEN list_distinct(tags) ELSE [NULL] END) AS tag
            FROM knowledge) k
        LEFT JOIN ({_REPLACED}) r ON r.supersedes = k._id LEFT JOIN ({_CITED}) c ON c.source = k._id
        LEFT JOIN ({MEMBERS}) m ON m._id = k."ownerId" GROUP BY k."ownerType", k."ownerId", k.tag""",
    example='SELECT "ownerName", tag, current, superseded, cited FROM "knowledgeCoverage" ORDER BY entries DESC',
)

KNOWLEDGE_REUSE = AnalyticsView(
    name="knowledgeReuse",
    comment="How each row of knowledge is used: who cites it as a source and what superseded it; superseded rows are "
    "shown, too.",
    columns={
        "knowledgeId": "the row of knowledge",
        "ownerId": "whose knowledge it is",
        "ownerName": "their name",
        "content": f"its text, at most {TEXT_CHARS} letters",
        "tags": "its tags",
        "createdAt": "when it was added, UTC",
        "sources": "how many sources it has",
        "cited": "how many rows of knowledge name it as a source",
        "lastCitedAt": "when it was last named, UTC",
        "supersededBy": "the row that replaced it, if any",
    },
    sql=f"""SELECT k._id, k."ownerId", m.name, left(k.content, {TEXT_CHARS}), k.tags, k."createdAt",
        coalesce(len(k.sources), 0), coalesce(c.n, 0), c."lastAt", r."byId"
        FROM knowledge k LEFT JOIN ({_CITED}) c ON c.source = k._id
        LEFT JOIN ({_REPLACED}) r ON r.supersedes = k._id LEFT JOIN ({MEMBERS}) m ON m._id = k."ownerId" """,
    example='SELECT "knowledgeId", content, cited FROM "knowledgeReuse" WHERE "supersededBy" IS NULL '
    "ORDER BY cited DESC LIMIT 20",
)

_TAGGED = ("agents", "prompts", "conversations", "conversationMessages", "knowledge", "events")
_COUNTED = ("agents", "prompts", "conversations", "messages", "knowledge", "events")
_USES = " UNION ALL ".join(
    f"""SELECT DISTINCT _id, unnest(tags) AS tag, '{name}' AS place, "createdAt" FROM "{table}" """
    + ("WHERE status IS DISTINCT FROM 'deleted'" if table == "conversationMessages" else "")
    for table, name in zip(_TAGGED, _COUNTED, strict=True)
)

TAG_USAGE = AnalyticsView(
    name="tagUsage",
    comment="How often each tag is used and on what, also tags that nobody uses; without deleted messages.",
    columns={
        "tag": "the tag",
        "color": "its color, if it has one",
        "uses": "rows that carry it",
        **{name: f"of these, {name}" for name in _COUNTED},
        "lastUsedAt": "when the newest of these was made, UTC",
    },
    sql=f"""SELECT coalesce(t.name, u.tag), any_value(t.color), count(u._id),
        {", ".join(f"count(*) FILTER (u.place = '{name}')" for name in _COUNTED)}, max(u."createdAt")
        FROM tags t FULL JOIN ({_USES}) u ON u.tag = t.name GROUP BY coalesce(t.name, u.tag)""",
    example='SELECT tag, uses, messages, knowledge, "lastUsedAt" FROM "tagUsage" ORDER BY uses DESC LIMIT 20',
)

VIEWS = (KNOWLEDGE_COVERAGE, KNOWLEDGE_REUSE, TAG_USAGE)
