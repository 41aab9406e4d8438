"""The permission matrix: what becomes of each request, for each role. Declared here, once; the tests carry it out.

Its rows are asked as `calls.py` says, of the rows that `world.py` makes: somebody (the creator) has one row of each
table, all of it private where that is possible, and the roles are related to it as their names say.
"""

from __future__ import annotations

from collections.abc import Iterator

ROLES: dict[str, tuple[str, str]] = {
    "owner": ("local owner", "who calls without a token on this machine; an admin and an analyst"),
    "admin": ("admin", "another user whose token has the scope `admin`"),
    "creator": ("creator", "the user who made all rows in question; reads and writes, as all below unless said"),
    "participant": ("participant", "takes part in the conversation and the event"),
    "blocked": ("blocked", "takes part in the conversation; its creator set their status to `blocked`"),
    "removed": ("removed", "took part in the conversation, and was removed"),
    "stranger": ("stranger", "a user who has nothing to do with any of it"),
    "agent": ("creator's agent", "another agent of the creator, which takes part in nothing"),
    "alien": ("stranger's agent", "an agent of another user"),
    "analyst": ("analyst", "a stranger whose token has the scopes `read` and `analyst`"),
    "reader": ("reader", "the creator, with a token that has the scope `read` only"),
    "deactivated": ("deactivated", "took part in the conversation; the user was deactivated, the token is still good"),
}
"""A heading and an explanation for each role, in the order of the columns."""

OUTCOMES: dict[str, tuple[str, str]] = {
    "s": ("shows", "allowed; the answer names private rows, or has their texts"),
    "+": ("yes", "allowed; the answer has nothing that is private but what was given with the question"),
    "h": ("hidden", "the answer is, letter for letter, the one for a row that does not exist"),
    "f": ("forbidden", "refused with the code `forbidden`, or in the same words where the protocol has no codes"),
    "c": ("conflict", "refused with the code `conflict`: the row is in use, or it is the admin's own"),
    "-": ("not told", "of a notification: it does not come"),
    "i": ("invalid", "refused with the code `invalid`: it makes no sense for anybody who may do it"),
}
"""A word and an explanation for each letter."""

WITHOUT_A_TOKEN = {
    "no token": "none was sent",
    "expired": "its time is over",
    "revoked": "`one-mcp token revoke` ended it",
    "forged": "it was never made here",
}
"""Over HTTP these get the status 401 and the same body, whatever they ask."""

TABLE = """
# Resources                                                     own adm cre par blo rem str age ali ana rea dea
read one://schema                                               +   +   +   +   +   +   +   +   +   +   +   f
read one://conversations                                        s   s   s   s   s   +   +   +   +   +   s   f
read one://calendar.ics                                         s   s   s   s   +   +   +   +   +   +   s   f
read one://conversations/{id}: the conversation                 s   s   s   s   s   h   h   h   h   h   s   f
read one://conversations/{id}/messages: the conversation        s   s   s   s   s   h   h   h   h   h   s   f
read one://agents/{id}: the private agent                       s   s   s   h   h   h   h   s   h   h   s   f
read one://agents/{id}: the public agent                        s   s   s   +   +   +   +   s   +   +   s   f
read one://agents/{id}/brief: the private agent                 s   s   s   h   h   h   h   s   h   h   s   f
read one://agents/{id}/brief: the public agent                  s   s   s   +   +   +   +   s   +   +   s   f
read one://users/{id}: the creator                              +   +   +   +   +   +   +   +   +   +   +   f
read one://knowledge/{id}: the private agent's                  s   s   s   h   h   h   h   s   h   h   s   f
read one://knowledge/{id}: the creator's                        +   +   +   h   h   h   h   h   h   h   +   f
read one://knowledge/{id}: the public agent's                   s   s   s   s   s   +   +   +   +   +   s   f
# Prompts                                                       own adm cre par blo rem str age ali ana rea dea
act_as_agent: the private agent                                 s   s   s   h   h   h   h   s   h   h   s   f
act_as_agent: the public agent                                  s   s   s   +   +   +   +   s   +   +   s   f
catch_up: the conversation                                      s   s   s   s   s   h   h   h   h   h   s   f
catch_up: for the private agent                                 +   +   +   h   h   h   h   +   h   h   +   f
catch_up: for the public agent                                  +   +   +   f   f   f   f   +   f   f   +   f
infer_insights: the conversation                                s   s   s   s   s   h   h   h   h   h   s   f
infer_insights: a topic                                         s   s   s   s   s   +   +   s   +   +   s   f
infer_insights: a tag                                           s   s   s   s   s   +   +   s   +   +   s   f
hand_over: from the private agent                               s   s   s   h   h   h   h   s   h   h   s   f
hand_over: from the public agent, whose team is private         s   s   s   +   +   +   +   s   +   +   s   f
a stored prompt                                                 +   +   +   +   +   +   +   +   +   +   +   f
a stored prompt that is a draft                                 f   f   f   f   f   f   f   f   f   f   f   f
# Completions                                                   own adm cre par blo rem str age ali ana rea dea
conversations (resource)                                        s   s   s   s   s   +   +   +   +   +   s   f
conversations, messages (resource)                              s   s   s   s   s   +   +   +   +   +   s   f
agents (resource)                                               s   s   s   +   +   +   +   s   +   +   s   f
agents, brief (resource)                                        s   s   s   +   +   +   +   s   +   +   s   f
users (resource)                                                +   +   +   +   +   +   +   +   +   +   +   f
knowledge (resource)                                            s   s   s   +   +   +   +   s   +   +   s   f
act_as_agent: agent                                             s   s   s   +   +   +   +   s   +   +   s   f
catch_up: conversation                                          s   s   s   s   s   +   +   +   +   +   s   f
catch_up: agent                                                 s   s   s   +   +   +   +   s   +   +   s   f
infer_insights: conversation                                    s   s   s   s   s   +   +   +   +   +   s   f
infer_insights: topic                                           +   +   +   +   +   +   +   +   +   +   +   f
infer_insights: tag                                             +   +   +   +   +   +   +   +   +   +   +   f
hand_over: agent                                                s   s   s   +   +   +   +   s   +   +   s   f
hand_over: task                                                 +   +   +   +   +   +   +   +   +   +   +   f
a stored prompt                                                 +   +   +   +   +   +   +   +   +   +   +   f
a stored prompt that is a draft                                 f   f   f   f   f   f   f   f   f   f   f   f
# Lists                                                         own adm cre par blo rem str age ali ana rea dea
tools/list                                                      +   +   +   +   +   +   +   +   +   +   +   +
prompts/list                                                    +   +   +   +   +   +   +   +   +   +   +   f
resources/list                                                  s   s   s   s   s   +   +   s   +   +   s   f
resources/templates/list                                        +   +   +   +   +   +   +   +   +   +   +   +
# Subscriptions                                                 own adm cre par blo rem str age ali ana rea dea
subscribe one://schema                                          +   +   +   +   +   +   +   +   +   +   +   f
listen one://schema                                             +   +   +   +   +   +   +   +   +   +   +   f
subscribe one://conversations                                   +   +   +   +   +   +   +   +   +   +   +   f
listen one://conversations                                      +   +   +   +   +   +   +   +   +   +   +   f
subscribe one://calendar.ics                                    +   +   +   +   +   +   +   +   +   +   +   f
listen one://calendar.ics                                       +   +   +   +   +   +   +   +   +   +   +   f
subscribe one://conversations/{id}: the conversation            +   +   +   +   +   h   h   h   h   h   +   f
listen one://conversations/{id}: the conversation               +   +   +   +   +   h   h   h   h   h   +   h
subscribe one://conversations/{id}/messages: the conversation   +   +   +   +   +   h   h   h   h   h   +   f
listen one://conversations/{id}/messages: the conversation      +   +   +   +   +   h   h   h   h   h   +   h
subscribe one://agents/{id}: the private agent                  +   +   +   h   h   h   h   +   h   h   +   f
listen one://agents/{id}: the private agent                     +   +   +   h   h   h   h   +   h   h   +   h
subscribe one://agents/{id}: the public agent                   +   +   +   +   +   +   +   +   +   +   +   f
listen one://agents/{id}: the public agent                      +   +   +   +   +   +   +   +   +   +   +   f
subscribe one://agents/{id}/brief: the private agent            +   +   +   h   h   h   h   +   h   h   +   f
listen one://agents/{id}/brief: the private agent               +   +   +   h   h   h   h   +   h   h   +   h
subscribe one://agents/{id}/brief: the public agent             +   +   +   +   +   +   +   +   +   +   +   f
listen one://agents/{id}/brief: the public agent                +   +   +   +   +   +   +   +   +   +   +   f
subscribe one://users/{id}: the creator                         +   +   +   +   +   +   +   +   +   +   +   f
listen one://users/{id}: the creator                            +   +   +   +   +   +   +   +   +   +   +   f
subscribe one://knowledge/{id}: the private agent's             +   +   +   h   h   h   h   +   h   h   +   f
listen one://knowledge/{id}: the private agent's                +   +   +   h   h   h   h   +   h   h   +   h
subscribe one://knowledge/{id}: the creator's                   +   +   +   h   h   h   h   h   h   h   +   f
listen one://knowledge/{id}: the creator's                      +   +   +   h   h   h   h   h   h   h   +   h
subscribe one://knowledge/{id}: the public agent's              +   +   +   +   +   +   +   +   +   +   +   f
listen one://knowledge/{id}: the public agent's                 +   +   +   +   +   +   +   +   +   +   +   f
# Tools                                                         own adm cre par blo rem str age ali ana rea dea
get users                                                       +   +   +   +   +   +   +   +   +   +   +   f
find users                                                      +   +   +   +   +   +   +   +   +   +   +   f
update users                                                    +   +   f   f   f   f   f   f   f   f   f   f
get agents                                                      s   s   s   h   h   h   h   s   h   h   s   f
find agents                                                     s   s   s   +   +   +   +   s   +   +   s   f
update agents                                                   s   s   s   h   h   h   h   s   h   f   f   f
get tools                                                       s   s   s   +   +   +   +   s   +   +   s   f
find tools                                                      +   +   +   +   +   +   +   +   +   +   +   f
update tools                                                    +   +   +   f   f   f   f   +   f   f   f   f
get prompts                                                     s   s   s   s   s   +   +   s   +   +   s   f
find prompts                                                    +   +   +   +   +   +   +   +   +   +   +   f
update prompts                                                  +   +   +   f   f   f   f   +   f   f   f   f
get conversations                                               s   s   s   s   s   h   h   h   h   h   s   f
find conversations                                              s   s   s   s   s   +   +   +   +   +   s   f
update conversations                                            s   s   s   f   f   h   h   h   h   f   f   f
get conversationParticipants                                    s   s   s   s   s   h   h   h   h   h   s   f
find conversationParticipants                                   s   s   s   s   s   +   +   +   +   +   s   f
update conversationParticipants                                 s   s   s   f   f   h   h   h   h   f   f   f
get conversationMessages                                        s   s   s   s   s   h   h   h   h   h   s   f
find conversationMessages                                       s   s   s   s   s   +   +   +   +   +   s   f
update conversationMessages                                     s   s   s   f   f   h   h   h   h   f   f   f
get agentTools                                                  s   s   s   h   h   h   h   s   h   h   s   f
find agentTools                                                 s   s   s   +   +   +   +   s   +   +   s   f
update agentTools                                               s   s   s   h   h   h   h   f   h   f   f   f
get attachments                                                 s   s   s   s   s   h   h   s   h   h   s   f
find attachments                                                s   s   s   s   s   +   +   s   +   +   s   f
update attachments                                              i   i   i   f   f   h   h   i   h   f   f   f
get knowledge                                                   s   s   s   h   h   h   h   s   h   h   s   f
find knowledge                                                  s   s   s   +   +   +   +   s   +   +   s   f
update knowledge                                                s   s   s   h   h   h   h   f   h   f   f   f
get tags                                                        +   +   +   +   +   +   +   +   +   +   +   f
find tags                                                       +   +   +   +   +   +   +   +   +   +   +   f
update tags                                                     +   +   +   f   f   f   f   +   f   f   f   f
get reactions                                                   s   s   s   s   s   h   h   h   h   h   s   f
find reactions                                                  s   s   s   s   s   +   +   +   +   +   s   f
update reactions                                                s   s   s   f   f   h   h   h   h   f   f   f
get comments                                                    s   s   s   s   s   h   h   h   h   h   s   f
find comments                                                   s   s   s   s   s   +   +   +   +   +   s   f
update comments                                                 s   s   s   f   f   h   h   h   h   f   f   f
get follows                                                     s   s   s   h   h   h   h   h   h   h   s   f
find follows                                                    s   s   s   +   +   +   +   +   +   +   s   f
update follows                                                  i   i   i   h   h   h   h   h   h   f   f   f
get events                                                      s   s   s   s   h   h   h   h   h   h   s   f
find events                                                     s   s   s   s   +   +   +   +   +   +   s   f
update events                                                   s   s   s   f   h   h   h   h   h   f   f   f
get reminders                                                   s   s   s   h   h   h   h   h   h   h   s   f
find reminders                                                  s   s   s   +   +   +   +   +   +   +   s   f
update reminders                                                s   s   s   h   h   h   h   h   h   f   f   f
create_user                                                     +   +   f   f   f   f   f   f   f   f   f   f
create_agent                                                    +   +   +   +   +   +   +   +   +   f   f   f
create_agent: with the private agent in its team                +   +   +   h   h   h   h   +   h   f   f   f
create_agent: for somebody else (createdBy)                     +   +   f   f   f   f   f   f   f   f   f   f
create_conversation                                             +   +   +   +   +   +   +   +   +   f   f   f
create_conversation: with the private agent                     +   +   +   h   h   h   h   +   h   f   f   f
add_participant: to the conversation                            +   +   +   +   f   h   h   h   h   f   f   f
add_participant: oneself to the conversation                    +   +   +   +   +   h   h   h   h   f   f   f
add_participant: the private agent to one's own                 +   +   +   h   h   h   h   +   h   f   f   f
send_message: to the conversation                               +   +   +   +   f   h   h   h   h   f   f   f
send_message: in the private agent's name                       +   +   +   f   f   h   h   h   h   f   f   f
send_message: of kind system                                    +   +   f   f   f   f   f   f   f   f   f   f
send_message: mentions the private agent in one's own           +   +   +   +   +   +   +   +   +   f   f   f
list_messages: of the conversation                              s   s   s   s   s   h   h   h   h   h   s   f
inbox                                                           s   s   s   s   +   +   +   +   +   +   +   f
wait_for_messages: in the conversation                          +   +   +   +   +   h   h   h   h   h   +   f
wait_for_messages: after the message                            s   s   s   s   +   h   h   h   h   h   +   f
wait_for_messages: anywhere                                     s   s   s   s   +   +   +   +   +   +   +   f
hand_over: to the private agent                                 s   s   s   h   h   h   h   f   h   f   f   f
hand_over: in the conversation                                  +   +   +   f   f   f   f   f   f   f   f   f
add_knowledge: for the private agent                            +   +   +   h   h   h   h   +   h   f   f   f
add_knowledge: for the public agent                             +   +   +   f   f   f   f   +   f   f   f   f
add_knowledge: for the creator                                  +   +   +   f   f   f   f   f   f   f   f   f
add_knowledge: drawn from the message                           +   +   +   +   +   h   h   h   h   f   f   f
add_knowledge: replaces the creator's                           i   i   +   h   h   h   h   h   h   f   f   f
search_knowledge_by_tag                                         s   s   s   s   s   +   +   s   +   +   s   f
search: for what is private                                     s   s   s   s   s   +   +   s   +   +   s   f
search: in the conversation                                     s   s   s   s   s   h   h   h   h   h   s   f
search: in the private agent's knowledge                        s   s   s   +   +   +   +   s   +   +   s   f
react: to the message                                           +   +   +   +   f   h   h   h   h   f   f   f
comment: on the message                                         +   +   +   +   f   h   h   h   h   f   f   f
follow: the private agent                                       +   +   s   h   h   h   h   +   h   f   f   f
follow: the creator                                             +   +   i   +   +   +   +   +   +   f   f   f
feed: after that                                                s   s   s   s   s   +   +   s   +   +   s   f
unfollow: the private agent                                     +   +   s   h   h   h   h   +   h   f   f   f
create_event                                                    +   +   s   s   +   +   +   +   +   f   f   f
create_event: with the private agent                            s   s   s   h   h   h   h   +   h   f   f   f
create_event: with the creator, who is busy                     s   s   s   s   +   +   +   +   +   f   f   f
create_reminder                                                 +   +   +   +   +   +   +   +   +   f   f   f
create_reminder: for the private agent                          +   +   +   h   h   h   h   +   h   f   f   f
create_reminder: for the creator                                +   +   +   f   f   f   f   f   f   f   f   f
create_reminder: about the message                              +   +   +   +   +   h   h   h   h   f   f   f
create_prompt                                                   +   +   +   +   +   +   +   +   +   f   f   f
render_prompt                                                   +   +   +   +   +   +   +   +   +   +   +   f
render_prompt: act_as_agent, the private agent                  s   s   s   h   h   h   h   s   h   h   s   f
render_prompt: catch_up, the conversation                       s   s   s   s   s   h   h   h   h   h   s   f
attach_prompt: to the private agent                             +   +   +   h   h   h   h   +   h   f   f   f
attach_prompt: to the conversation                              +   +   +   +   f   h   h   h   h   f   f   f
create_tool                                                     +   +   +   +   +   +   +   +   +   f   f   f
grant_tool: to the private agent                                +   +   +   h   h   h   h   +   h   f   f   f
grant_tool: to the public agent                                 +   +   +   f   f   f   f   +   f   f   f   f
create_tag                                                      +   +   +   +   +   +   +   +   +   f   f   f
query                                                           +   +   f   f   f   f   f   f   f   +   f   f
chart                                                           +   +   f   f   f   f   f   f   f   +   f   f
as the private agent (find as=...)                              s   s   s   h   h   h   h   f   h   h   s   f
as the public agent (find as=...)                               s   s   s   f   f   f   f   f   f   f   s   f
get knowledge: the creator's                                    +   +   +   h   h   h   h   h   h   h   +   f
get agents: a public one, whose team is private                 s   s   s   +   +   +   +   s   +   +   s   f
get knowledge: a public agent's, drawn from the message         s   s   s   s   s   +   +   +   +   +   s   f
find agents: whose team has the private one                     +   +   +   +   +   +   +   +   +   +   +   f
find agents: that have a team                                   s   s   f   f   f   f   f   f   f   f   f   f
find knowledge: drawn from the message                          s   s   s   +   +   +   +   +   +   +   s   f
find conversations: by a text in the title                      s   s   s   s   s   +   +   +   +   +   s   f
find knowledge: by a tag                                        s   s   s   s   s   +   +   s   +   +   s   f
find users: by email                                            +   +   f   f   f   f   f   f   f   f   f   f
update users: oneself                                           +   +   +   +   +   +   +   +   +   f   f   f
delete tools: one that the private agent has                    c   c   c   f   f   f   f   c   f   f   f   f
delete prompts: one that is attached                            c   c   c   f   f   f   f   c   f   f   f   f
delete reminders                                                +   +   +   h   h   h   h   h   h   f   f   f
delete events                                                   +   +   +   f   h   h   h   h   h   f   f   f
delete follows                                                  +   +   +   h   h   h   h   h   h   f   f   f
delete comments                                                 +   +   +   f   f   h   h   h   h   f   f   f
delete reactions                                                +   +   +   f   f   h   h   h   h   f   f   f
delete tags                                                     +   +   +   f   f   f   f   +   f   f   f   f
delete knowledge                                                +   +   +   h   h   h   h   f   h   f   f   f
delete attachments                                              +   +   +   f   f   h   h   +   h   f   f   f
delete agentTools                                               +   +   +   h   h   h   h   f   h   f   f   f
delete conversationMessages                                     +   +   +   f   f   h   h   h   h   f   f   f
delete conversationParticipants                                 +   +   +   f   f   h   h   h   h   f   f   f
delete conversations                                            +   +   +   f   f   h   h   h   h   f   f   f
delete prompts                                                  +   +   +   f   f   f   f   +   f   f   f   f
delete tools                                                    +   +   +   f   f   f   f   +   f   f   f   f
delete agents                                                   +   +   +   h   h   h   h   +   h   f   f   f
delete users                                                    +   +   f   f   f   f   f   f   f   f   f   f
delete users: oneself                                           c   c   +   +   +   +   +   +   +   f   f   f
# Notifications                                                 own adm cre par blo rem str age ali ana rea dea
of a message in the conversation                                +   +   +   +   +   -   -   -   -   -   +   -
of a change of the private agent                                +   +   +   -   -   -   -   +   -   -   +   -
of a change of its knowledge                                    +   +   +   -   -   -   -   +   -   -   +   -
of a change of the creator's knowledge                          +   +   +   -   -   -   -   -   -   -   +   -
of the event, in one's calendar                                 +   +   +   +   -   -   -   -   -   -   +   -
of a message, in the list of conversations                      +   +   +   +   +   -   -   -   -   -   +   -
that the list of resources has a private agent                  +   +   +   -   -   -   -   +   -   -   +   -
that the list of prompts changed                                +   +   +   +   +   +   +   +   +   +   +   -
"""
"""One row a request, one column a role in the order of `ROLES`; `#` begins a section."""


def rows() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Each row: its section, its name, and the letter by role."""
    section = ""
    for line in TABLE.strip().splitlines():
        if line.startswith("# "):
            section = line.split()[1]
            continue
        words = line.split()
        letters = words[-len(ROLES) :]
        yield section, " ".join(words[: -len(ROLES)]), dict(zip(ROLES, letters, strict=True))
