"""What a role meets: somebody's private rows, one of each table, and how the role is related to them."""

from __future__ import annotations

from dataclasses import dataclass

from server.session import ALL_SCOPES
from storage.tables import BY_NAME
from tests.clients import ERAS, USER_SCOPES, Swarm, Tools
from tests.one_of_each import OPEN_TABLES, creation, one_of_each
from tests.strangers import made

READ = frozenset({"read"})
SCOPES: dict[str, frozenset[str]] = {
    "owner": ALL_SCOPES,
    "admin": frozenset({"read", "write", "admin"}),
    "analyst": frozenset({"read", "analyst"}),
    "reader": READ,
}
"""What a role's token allows, if that is not just to read and write."""
IN_THE_CONVERSATION = ("participant", "blocked", "removed", "deactivated")
STRANGERS = ("removed", "stranger", "alien", "analyst", "deactivated")
"""Nothing of what is private is theirs to see. (An analyst has SQL for that, and nothing else.)"""


@dataclass
class World:
    """Rows by name, and clients of the role, one of each era."""

    swarm: Swarm
    role: str
    creator: Tools
    client: Tools
    later: Tools
    marker: str
    rows: dict[str, str]
    private: frozenset[str]

    @property
    def is_stranger(self) -> bool:
        """Whether nothing private may be in any answer."""
        return self.role in STRANGERS

    @property
    def missing(self) -> dict[str, str]:
        """The same names, with ids of no row for what is private."""
        return {
            name: row_id.replace("_", "_77") if name in self.private else row_id for name, row_id in self.rows.items()
        }


async def world_of(swarm: Swarm, role: str) -> World:
    """A fresh one."""
    number = swarm.service.engine.writer.next_seq
    marker = f"zanzibar{number}"
    creator_id, creator = await swarm.user(f"Creator{number}")
    tag = f"open{number}"
    rows = await one_of_each(swarm, creator, creator_id, marker, open_word=tag)
    rows |= {"marker": marker, "tag": tag}
    rows = await _private(creator, creator_id, rows, tag)
    doomed = await one_of_each(swarm, creator, creator_id, f"{marker} b", open_word=f"doomed{number}")
    for table, tool in (("tools", "create_tool"), ("prompts", "create_prompt")):  # those in use cannot be deleted
        doomed[table] = await made(creator, tool, **creation(BY_NAME[table], {}, "unused").arguments)
    rows |= {f"doomed {name}": row_id for name, row_id in doomed.items() if name != "me"}
    private = frozenset(
        name for name in rows if name.removeprefix("doomed ") not in (*OPEN_TABLES, "creator", "me", "marker", "tag")
    )
    private -= _OPEN
    me = await _member(swarm, role, number, creator, rows)
    me_too = await swarm.connect(me, admin=role == "owner", scopes=None if role == "owner" else USER_SCOPES)
    rows |= {"me": me, **await _own(me_too, number, rows["conversations"])}
    if role == "deactivated":
        await swarm.owner("delete", id=me)
    scopes = SCOPES.get(role, USER_SCOPES)
    client, later = [await swarm.connect(me, era=era, scopes=scopes) for era in ERAS]
    return World(swarm, role, creator, client, later, marker, rows, private)


_OPEN = frozenset({"open agent", "knowledge of the open agent", "draft prompt", "helper"})


async def _private(creator: Tools, creator_id: str, rows: dict[str, str], tag: str) -> dict[str, str]:
    """More of the creator's rows."""
    agent = rows["agents"]
    minimal = {"description": "d", "kind": "user_agent"}
    open_agent = await made(creator, "create_agent", name="Open", **minimal, delegatesTo=[agent])
    return {
        **rows,
        "creator": creator_id,
        "helper": await made(creator, "create_agent", name="Helper", **minimal),
        "open agent": open_agent,
        "knowledge of the open agent": await made(
            creator,
            "add_knowledge",
            ownerType="agent",
            ownerId=open_agent,
            content="open",
            tags=[tag],
            sources=[rows["conversationMessages"]],
        ),
        "knowledge of a user": await made(
            creator, "add_knowledge", ownerType="user", ownerId=creator_id, content=f"Mine of {creator_id}", tags=[tag]
        ),
        "draft prompt": await made(creator, "create_prompt", title="D", template="t", step="Hook", status="draft"),
    }


async def _member(swarm: Swarm, role: str, number: int, creator: Tools, rows: dict[str, str]) -> str:
    """The user or agent that the role is, brought into the relation that its name says."""
    if role == "owner":
        return swarm.service.owner.id
    if role in ("creator", "reader"):
        return rows["creator"]
    if role == "agent":
        return rows["helper"]
    me, tools = await swarm.user(f"Role{number}")
    if role == "alien":
        return await made(tools, "create_agent", name="Alien", description="d", kind="user_agent")
    if role in IN_THE_CONVERSATION:
        for prefix in ("", "doomed "):
            place, event = rows[f"{prefix}conversations"], rows[f"{prefix}events"]
            part = await made(creator, "add_participant", conversationId=place, kind="user", userId=me)
            if role == "participant":
                await creator("update", id=event, fields={"participants": [rows["agents"], me]})
            elif role == "blocked":
                await creator("update", id=part, fields={"status": "blocked"})
            elif role == "removed":
                await creator("delete", id=part)
            news = f"{rows['marker']} is news"
            # A mention by who may add somebody brings them back.
            mention = "" if role == "removed" else f" to @[You](user:{me})"
            await creator("send_message", conversationId=place, content=news + mention)
    return me


async def _own(tools: Tools, number: int, place: str) -> dict[str, str]:
    """What the role made itself."""
    return {
        # Of a group that is named like the private conversation: what is attached there is not seen for that.
        "own place": await made(tools, "create_conversation", title=f"Own {number}", groupId=place),
        "own prompt": await made(tools, "create_prompt", title=f"Own {number}", template="t", step="Hook"),
        "own tool": await made(tools, "create_tool", name=f"Own {number}", description="d"),
        "own agent": await made(tools, "create_agent", name=f"Own {number}", description="d", kind="user_agent"),
    }
