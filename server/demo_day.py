"""What happens on the day that `one-mcp demo` plays: three people, five agents and their clients."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp_types import TextContent, TextResourceContents

from server.endpoint import Failure
from server.status import control

PATIENCE_SECONDS = 20.0
POLL_SECONDS = 0.02
WIDTH = 110
NAMES = 8

_NOTE = "Write a note for {{audience}} about {{product}}. Name one thing that gets better for them."
_KNOWN = (
    "Half of the visitors give up in the basket, when they first see what shipping costs.",
    "Gift boxes sell best in the second week of December.",
    "The payment provider allows five requests a second.",
)


class Seat:
    """A client, and who sits before it. `used` collects the names of tools."""

    def __init__(self, client: Client, data: Path, used: set[str]) -> None:
        self.client = client
        self._data = data
        self._used = used

    async def __call__(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """A tool's result. `as_` stands for `as`. Raises Failure if the tool refuses."""
        failed, text, result = await self._call(tool, arguments)
        if failed:
            raise Failure(f"{tool}: {text}")
        return result

    async def refused(self, tool: str, /, **arguments: Any) -> str:
        """What a tool says that must refuse. Raises Failure if it does not."""
        failed, text, _ = await self._call(tool, arguments)
        if not failed:
            raise Failure(f"{tool} should have been refused: {text}")
        return text

    async def _call(self, tool: str, arguments: dict[str, Any]) -> tuple[bool, str, dict[str, Any]]:
        self._used.add(tool)
        if "as_" in arguments:
            arguments["as"] = arguments.pop("as_")
        result = await self.client.call_tool(tool, arguments)
        text = "".join(block.text for block in result.content if isinstance(block, TextContent))
        return result.is_error or False, text, result.structured_content or {}

    async def read(self, uri: str) -> str:
        """A resource's text."""
        found = await self.client.read_resource(uri)
        return "".join(part.text for part in found.contents if isinstance(part, TextResourceContents))

    async def somebody_waits(self) -> None:
        """Until a call of wait_for_messages has arrived at the hub."""
        await until(partial(anyio.to_thread.run_sync, self._waiting), "a waiting agent")

    def _waiting(self) -> bool:
        link = control(self._data)
        if link is None:
            raise Failure("The hub has ended.")
        try:
            return bool(link.call("status")["waiting"])
        finally:
            link.close()


async def until(happened: Callable[[], Any], what: str) -> Any:
    """Ask again and again until the answer is not empty; the answer. Raises Failure after a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := await happened()):
        if time.monotonic() > deadline:
            raise Failure(f"not within {PATIENCE_SECONDS:.0f} s: {what}")
        await anyio.sleep(POLL_SECONDS)
    return answer


class Day:
    """The day, chapter by chapter. `desk` is Ann's client; whoever sits before the other one comes with the chapter."""

    def __init__(self, tell: Callable[[str], None], desk: Seat) -> None:
        self._tell = tell
        self._desk = desk
        self.ids: dict[str, str] = {}
        """By name: of people, agents, conversations and messages."""

    def _chapter(self, title: str) -> None:
        self._tell(f"\n{title}")

    def _say(self, who: str, what: str, answer: str = "") -> None:
        first, answer = f"  {who:<{NAMES}} {what}", " ".join(answer.split())
        if answer and len(first) + len(answer) + 4 <= WIDTH:
            self._tell(f"{first}  → {answer}")
            return
        self._tell(first)
        room = WIDTH - NAMES - 5
        if answer:
            self._tell(f"  {'':<{NAMES}} → {answer if len(answer) <= room else answer[: room - 1] + '…'}")

    async def people(self) -> None:
        """Ann, whose machine it is, and two more."""
        desk = self._desk
        self._tell(
            "A day of a swarm: three people, five agents, two clients at a time, one hub. All of it is temporary."
        )
        self._chapter("Ann opens her desktop client (one-mcp on stdio) and invites people")
        ann = (await desk("find", table="users"))["users"][0]["_id"]
        await desk("update", id=ann, fields={"name": "Ann"})
        self.ids["Ann"] = ann
        for name in ("Ben", "Cleo"):
            self.ids[name] = (await desk("create_user", name=name, email=f"{name.lower()}@tea.example"))["_id"]
        self._say("Ann", "create_user Ben, Cleo", f"{self.ids['Ben']}, {self.ids['Cleo']}")

    async def agents(self, editor: Seat) -> None:
        """Five agents, one a lead with a team, one with a tool, one with a prompt."""
        self._chapter("Ben opens his editor (one-mcp --as his id): the same swarm. Both make agents")
        await self._agent(editor, "Ben", "Coder", "Builds the shop")
        await self._agent(editor, "Ben", "Tester", "Breaks what Coder built")
        desk, ids = self._desk, self.ids
        await self._agent(desk, "Ann", "Scout", "Finds things out")
        await self._agent(desk, "Ann", "Writer", "Puts it into words")
        await self._agent(desk, "Ann", "Lead", "Runs the launch", delegatesTo=[ids["Scout"], ids["Writer"]])
        tool = await desk("create_tool", name="web_search", description="Searches the web")
        await desk("grant_tool", agentId=ids["Scout"], toolId=tool["_id"], config={"perDay": 50})
        self._say("Ann", "create_tool web_search, grant_tool to Scout", f"{tool['_id']}, with a config for Scout alone")
        prompt = await desk(
            "create_prompt", title="Launch note", template=_NOTE, step="Hook", requiredContext=["audience", "product"]
        )
        ids["Launch note"] = prompt["_id"]
        await desk("attach_prompt", promptId=prompt["_id"], ownerType="agent", ownerId=ids["Writer"])
        listed = await editor.client.list_prompts()
        name = next(one.name for one in listed.prompts if one.title == "Launch note")
        self._say("Ann", "create_prompt Launch note, attach_prompt to Writer", f"in Ben's menu of prompts: {name}")

    async def _agent(self, seat: Seat, who: str, name: str, description: str, **more: Any) -> None:
        agent = await seat("create_agent", name=name, description=description, kind="user_agent", **more)
        self.ids[name] = agent["_id"]
        team = f", its team {', '.join(more['delegatesTo'])}" if more else ""
        self._say(who, f"create_agent {name}: {description}{team}", agent["_id"])

    async def talk(self, editor: Seat) -> None:
        """A mention wakes an agent that waits in another client."""
        self._chapter("They talk: Coder waits in Ben's editor, takes no part yet, and is mentioned in Ann's client")
        desk, ids = self._desk, self.ids
        await desk("create_tag", name="launch", color="#2e7d32")
        room = await desk(
            "create_conversation",
            title="Launch of the tea shop",
            participants=[ids["Ben"], ids["Lead"], ids["Scout"]],
            tags=["launch"],
        )
        ids["room"] = room["_id"]
        self._say(
            "Ann", "create_tag launch, create_conversation with Ben, Lead, Scout", f"{room['_id']}: {room['title']}"
        )
        await self._wake(editor)
        reply = "It asks for the shipping costs on every click. I keep them for an hour now."
        sent = await editor("send_message", conversationId=room["_id"], content=reply, as_=ids["Coder"])
        ids["reply"] = sent["_id"]
        self._say("Coder", f'send_message "{reply}"', sent["_id"])
        await desk("react", messageId=sent["_id"], type="thanks")
        await editor("comment", messageId=sent["_id"], content="Tester, have a look.")
        await editor("add_participant", conversationId=room["_id"], kind="agent", agentId=ids["Tester"])
        await editor("react", messageId=sent["_id"], type="confirmed", as_=ids["Tester"])
        whole = await desk("get", id=sent["_id"])
        kinds = " and ".join(reaction["type"] for reaction in whole["reactions"])
        self._say("Ann, Ben", "react thanks; comment, add_participant Tester", f'"{whole["comments"][0]["content"]}"')
        self._say("Tester", "react confirmed", f"get shows it all with the message: {kinds}")

    async def _wake(self, editor: Seat) -> None:
        desk, ids = self._desk, self.ids
        woken: dict[str, Any] = {}

        async def wait() -> None:
            woken.update(await editor("wait_for_messages", as_=ids["Coder"]), at=time.perf_counter())

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await desk.somebody_waits()
            self._say("Coder", "wait_for_messages ...")
            begun = time.perf_counter()
            content = f"@[Coder](agent:{ids['Coder']}) why is the basket so slow?"
            ids["question"] = (await desk("send_message", conversationId=ids["room"], content=content))["_id"]
        self._say("Ann", f'send_message "{content}"', f"{ids['question']}; Coder now takes part")
        heard = woken["messages"][-1]
        self._say("Coder", f"... woke {(woken['at'] - begun) * 1000:.0f} ms later", f"{heard['_id']} from Ann")

    async def remember(self, editor: Seat) -> None:
        """Knowledge is found by what it means, without a word in common."""
        self._chapter("They remember: what Scout learns in one client is found in the other, by its meaning")
        desk, ids = self._desk, self.ids
        for text in _KNOWN:
            await desk(
                "add_knowledge",
                ownerType="agent",
                ownerId=ids["Scout"],
                content=text,
                tags=["launch"],
                sources=[ids["question"]],
                as_=ids["Scout"],
            )
            self._say("Scout", f'add_knowledge "{text}"')
        question = "Why do people leave without buying?"

        async def embedded() -> dict[str, Any]:
            found = await editor("search", query=question, **{"in": "knowledge"}, limit=1)
            return {} if "pending" in found else found

        best = (await until(embedded, "all is embedded"))["results"][0]
        self._say("Ben", f'search "{question}"', f"{best['_id']}: {best['content']}")
        tagged = await editor("search_knowledge_by_tag", tag="launch")
        self._say("Ben", "search_knowledge_by_tag launch", f"{len(tagged['knowledge'])} insights, with their sources")
        await editor("follow", followeeId=ids["Scout"])
        news = (await editor("feed"))["feed"]
        self._say("Ben", "follow Scout, feed", f"{len(news)} news of Scout, the newest: {news[0]['content']}")
        await editor("unfollow", followeeId=ids["Scout"])
        self._say("Ben", "unfollow Scout: enough for today")

    async def plan(self, editor: Seat) -> None:
        """Work goes to a delegate; meetings conflict; a reminder fires."""
        self._chapter("They plan: work is handed over, two meetings collide, a reminder fires")
        desk, ids = self._desk, self.ids
        remind_at = datetime.now(UTC) + timedelta(seconds=1)
        await desk(
            "create_reminder",
            message="Ask for the numbers",
            remindAt=remind_at.isoformat(),
            forId=ids["Lead"],
            relatedEntity=ids["room"],
        )
        self._say("Ann", "create_reminder for Lead, in one second")
        task = "Write the launch note for our regulars."
        handed = await desk("hand_over", to=ids["Writer"], task=task, as_=ids["Lead"])
        self._say(
            "Lead", f'hand_over to Writer "{task}"', f"{handed['_id']} in {handed['conversationId']}, theirs alone"
        )
        values = {"audience": "our regulars", "product": "gift boxes"}
        text = (await desk("render_prompt", promptId=ids["Launch note"], values=values, as_=ids["Writer"]))["content"]
        self._say("Writer", "render_prompt Launch note", text)
        noon = (datetime.now(UTC) + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
        times = {"startTime": noon.isoformat(), "endTime": (noon + timedelta(hours=1)).isoformat()}
        await desk("create_event", title="Tasting", participants=[ids["Ben"]], **times)
        self._say("Ann", "create_event Tasting with Ben, tomorrow at 12")
        event = await editor("create_event", title="Release", participants=[ids["Ann"], ids["Coder"]], **times)
        clash = event["conflicts"][0]
        names = {row_id: name for name, row_id in ids.items()}
        who = " and ".join(names[one] for one in clash["who"])
        self._say(
            "Ben", "create_event Release with Ann and Coder, at the same time", f"conflicts: {clash['title']}, {who}"
        )

        async def reminded() -> list[dict[str, Any]]:
            due: list[dict[str, Any]] = (await desk("inbox", as_=ids["Lead"]))["reminders"]
            return due

        due = (await until(reminded, "the reminder"))[0]
        self._say("Lead", "inbox", f"a reminder, about {due['relatedEntity']}: {due['content']}")

    async def mend(self, editor: Seat) -> None:
        """Wrong calls say the right one; nothing is overwritten unseen; what is deleted leaves a trace."""
        self._chapter("They make mistakes: the errors say how to go on, and nothing is overwritten unseen")
        desk, ids = self._desk, self.ids
        text = await desk.refused("send_message", conversation_id=ids["room"], content="Good work!")
        self._say("Ann", "send_message with a wrong argument", text)
        text = await desk.refused("get", id="msg_9999")
        self._say("Ann", "get msg_9999", text)
        seq = (await editor("get", id=ids["reply"]))["seq"]
        await editor(
            "update", id=ids["reply"], fields={"content": "Mended: shipping costs are kept for an hour."}, ifSeq=seq
        )
        self._say("Ben", "update Coder's answer, ifSeq of what he read")
        text = await desk.refused("update", id=ids["reply"], fields={"content": "Done."}, ifSeq=seq)
        self._say("Ann", "update it too, ifSeq of what she read earlier", text)
        slip = await desk("send_message", conversationId=ids["room"], content="My password is tea4two.")
        gone = await desk("delete", id=slip["_id"])
        left = await editor("get", id=slip["_id"])
        self._say("Ann", "send_message with her password; delete", f'{gone["outcome"]}: content "{left["content"]}"')

    async def count(self) -> None:
        """Whoever owns the machine asks in SQL."""
        self._chapter("Ann counts: SQL on a snapshot, while everybody goes on")
        sql = "SELECT kind, count(*) AS n FROM conversationMessages GROUP BY kind ORDER BY n DESC"
        found = await self._desk("query", sql=sql, fresh=True)
        self._say("Ann", f'query "{sql}"', ", ".join(f"{kind} {count}" for kind, count in found["rows"]))
        sql = 'SELECT name, messages FROM "agentLeaderboard" WHERE messages > 0 ORDER BY ALL'
        drawn = await self._desk("chart", sql=sql, title="Which agents talk")
        self._say("Ann", f"chart '{sql}'", f"an image: {drawn['alt']}")

    async def evening(self, late: Seat) -> None:
        """Who comes late misses nothing."""
        self._chapter("Evening: Ben has gone, Ann adds Cleo, who opens her client")
        desk, ids = self._desk, self.ids
        await desk("add_participant", conversationId=ids["room"], kind="user", userId=ids["Cleo"])
        content = f"@[Cleo](user:{ids['Cleo']}) all yours: we are ready for tomorrow."
        await desk("send_message", conversationId=ids["room"], content=content)
        self._say("Ann", f'add_participant Cleo, send_message "{content}"')
        new = await late("inbox")
        mention = new["mentions"][0]["messages"][0]["content"]
        self._say("Cleo", "inbox", f"{new['unread']} unread, a mention first: {mention}")
        again = await late("inbox", ack=new["ack"])
        page = await late("list_messages", conversationId=ids["room"])
        self._say(
            "Cleo", "inbox with ack; list_messages", f"{again['unread']} unread; {len(page['messages'])} messages"
        )
        self._chapter(f"What anybody attaches in their client: one://conversations/{ids['room']}")
        lines = (await late.read(f"one://conversations/{ids['room']}")).splitlines()
        for line in lines:
            if line:
                self._tell(f"  | {line}")
