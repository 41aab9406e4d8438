"""The page of permissions, made from the table that the tests carry out."""

from __future__ import annotations

from itertools import groupby

from scripts.reference import NOTE, page, table
from tests.permissions.table import OUTCOMES, ROLES, WITHOUT_A_TOKEN, rows

INTRODUCTION = """\
What becomes of every request, for each role. The table is part of the tests, which carry out each of its cells with a
client of that role, and each row over HTTP without a good token, in both protocol eras. A tool, table, resource, prompt
or scope that has no cells fails them. The rules behind it are said by table in [tables](tables.md).

Somebody, the creator, has made one row of each table, all of it private where that is possible: an agent, a
conversation that the agent takes part in, a message there, and so on. The rows of this page are asked of these."""

SCOPES = """\
A token allows what both its scopes and its owner allow. Every scope reads; `write`, `analyst` and `admin` add to that.
`admin` is for users: an agent whose token has it is no admin."""

STRANGERS = """\
Strangers (removed, stranger, stranger's agent, analyst, deactivated) are shown nothing private in any cell. Besides,
more than a thousand answers to a stranger are compared in two swarms that differ in nothing but the private rows of
others: they are the same, with their order, counts, cursors and suggestions."""

ACCEPTED = """\
- **Tags are public.** Their names are there to be found, also by people who do not know each other. A name that was
  first used in a private row has its row in `tags`, with the user who used it first; not where, and not how often. Put
  nothing into a tag that must stay among few.
- **Users, tools, prompts and public agents are seen by all**, users without email and phone. A tool or prompt that is
  in use by others cannot be deleted, and its creator is told that much. What a public agent knows is public with it.
- **How much goes on.** Ids and `seq` are numbered over all tables, `pending` of `search` counts every row that waits,
  and cursors move with what others write. They tell how much is written, not by whom and not what.
- **Who shares something sees who else does.** In a conversation and in an event everybody sees the others' ids, in a
  conversation also their names, of private agents as well. Who follows you shows you an id.
- **Ids that somebody chose to tell.** A row that you see may name one that you do not see: as its creator, or in a
  text. Lists of ids in rows that may be public (`agents.delegatesTo`, `knowledge.sources`) are shown without the hidden
  ones, except to who may change the row; `find` takes `has` of one id there, and finds nothing for a hidden one. A team
  that would lead back to its agent is refused, even where the way leads through hidden agents.
- **A groupId is a name.** Whoever gives it to a conversation belongs to the group and sees what is attached to it. A
  group that is named like a conversation shows nothing of that.
- **Words that others use.** For who sees all, how rare a word is counts over all rows. For everybody else it counts
  over what they see, so hidden rows change neither the order nor the scores of a search. Where more than 600 visible
  parts of texts match, those that compete are chosen by the counts over all.
- **Analysts.** `query` and `chart` see every row of the 16 tables, as the scope says; everything else shows an analyst
  no more than anybody."""


def permissions_page() -> str:
    """Every request with what becomes of it for each role."""
    parts = [
        NOTE + "# Permissions",
        INTRODUCTION,
        "## Roles",
        table(("role", ""), list(ROLES.values())),
        f"Without a good token: {', '.join(f'{kind} ({words})' for kind, words in WITHOUT_A_TOKEN.items())}.",
        SCOPES,
        "## Outcomes",
        table(("", ""), [*OUTCOMES.values(), ("401", "the HTTP status; the body is the same for every row")]),
        STRANGERS,
    ]
    head = ("", *(heading for heading, _ in ROLES.values()), "without a good token")
    for section, lines in groupby(rows(), key=lambda row: row[0]):
        without = "not told" if section == "Notifications" else "401"
        cells = [(name, *(OUTCOMES[one][0] for one in letters.values()), without) for _, name, letters in lines]
        parts += [f"## {section}", table(head, cells)]
    parts += ["## What is told nevertheless", ACCEPTED]
    return page(parts)
