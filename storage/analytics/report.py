"""What a report shows of each view."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from storage.plots import Kind


class Part(NamedTuple):
    """A section of the page: a view, what is drawn of it (columns for the chart first), and the table below."""

    title: str
    view: str
    kind: Kind | None
    chart: str | None
    table: str


PARTS = (
    Part("Messages per day", "dailyActivity", "line",
         'SELECT day, messages, participants FROM "dailyActivity" ORDER BY day',
         'SELECT * FROM "dailyActivity" ORDER BY day DESC'),
    Part("The ten steps", "stepFunnel", "funnel",
         'SELECT step, reached FROM "stepFunnel" ORDER BY position', 'SELECT * FROM "stepFunnel" ORDER BY position'),
    Part("Agents", "agentLeaderboard", "bar",
         'SELECT name, messages FROM "agentLeaderboard" ORDER BY messages DESC LIMIT 15',
         'SELECT * FROM "agentLeaderboard" ORDER BY messages DESC'),
    Part("How fast people and agents answer", "responseTimes", "bar",
         'SELECT name, "medianSeconds", "p90Seconds" FROM "responseTimes" ORDER BY answers DESC LIMIT 12',
         'SELECT * FROM "responseTimes" ORDER BY answers DESC'),
    Part("Conversations", "conversationHealth", None, None,
         'SELECT * FROM "conversationHealth" ORDER BY "lastMessageAt" DESC NULLS LAST'),
    Part("Contacts", "crmContacts", None, None,
         'SELECT * FROM "crmContacts" ORDER BY "lastTouchAt" DESC NULLS LAST'),
    Part("What is known", "knowledgeCoverage", "bar",
         """SELECT coalesce(tag, '(no tag)') AS tag, CAST(sum("current") AS BIGINT) AS "current",
         CAST(sum(superseded) AS BIGINT) AS superseded FROM "knowledgeCoverage" GROUP BY ALL
         ORDER BY "current" DESC LIMIT 15""",
         'SELECT * FROM "knowledgeCoverage" ORDER BY entries DESC'),
    Part("Knowledge that is used", "knowledgeReuse", None, None,
         'SELECT * FROM "knowledgeReuse" ORDER BY cited DESC'),
    Part("Tags", "tagUsage", "bar", 'SELECT tag, uses FROM "tagUsage" ORDER BY uses DESC LIMIT 15',
         'SELECT * FROM "tagUsage" ORDER BY uses DESC'),
    Part("Who answers whom", "socialGraph", "heatmap",
         """SELECT "toName", "fromName", weight FROM "socialGraph" WHERE kind = 'answers'
         ORDER BY weight DESC LIMIT 200""",
         'SELECT * FROM "socialGraph" ORDER BY weight DESC'),
    Part("Newest around contacts", "contactTimeline", None, None,
         'SELECT * FROM "contactTimeline" ORDER BY "happenedAt" DESC'),
)  # fmt: skip
"""Every view has its part."""
