"""The inbox: what is unread, what an ack marks, and what it never marks."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any

import pytest

from storage.tables import Reminder
from tests.clients import Swarm, Tools
from tests.imports import CONVERSATION, MEMBER, MESSAGE, USER, load
from tools_impl.acks import Shown


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


class Bot:
    """A fresh agent and conversations that it takes part in; the owner writes."""

    def __init__(self, owner: Tools, row: dict[str, Any]) -> None:
        self.owner, self.id = owner, str(row["_id"])

    async def place(self, title: str = "Plan", *, joined: bool = True) -> str:
        row = await self.owner("create_conversation", title=title, participants=[self.id] if joined else [])
        return str(row["_id"])

    async def hears(self, place: str, *texts: str) -> list[str]:
        return [
            (await self.owner("send_message", conversationId=place, content=text.replace("@me", self.mention)))["_id"]
            for text in texts
        ]

    @property
    def mention(self) -> str:
        return f"@[Bot](agent:{self.id})"

    async def inbox(self, **arguments: Any) -> dict[str, Any]:
        return await self.owner("inbox", as_=self.id, **arguments)


@pytest.fixture
async def bot(owner: Tools) -> Bot:
    return Bot(owner, await owner("create_agent", name="Bot", description="d", kind="user_agent"))


def ids(groups: list[dict[str, Any]]) -> list[str]:
    return [entry["_id"] for group in groups for entry in group["messages"]]


def contents(groups: list[dict[str, Any]]) -> list[str]:
    return [entry["content"] for group in groups for entry in group["messages"]]


async def test_an_empty_inbox(bot: Bot) -> None:
    found = await bot.inbox()
    assert found.pop("now") > 1_700_000_000_000
    assert found == {"reminders": [], "mentions": [], "messages": [], "authors": {}, "unread": 0}


async def test_what_is_unread_comes_by_conversation(swarm: Swarm, bot: Bot) -> None:
    first, second = await bot.place("First"), await bot.place("Second")
    await bot.hears(first, "a")
    await bot.hears(second, "b", "c")
    sent = await bot.hears(first, "d")
    found = await bot.inbox()
    assert found["unread"] == 4
    assert [group["conversation"] for group in found["messages"]] == [
        {"_id": first, "title": "First", "unread": 2},
        {"_id": second, "title": "Second", "unread": 2},
    ]
    assert contents(found["messages"]) == ["a", "d", "b", "c"]
    owner = swarm.service.owner
    assert found["authors"] == {owner.id: owner.name}
    row = await bot.owner("get", id=sent[0])
    assert found["messages"][0]["messages"][1] == {
        "_id": sent[0],
        "from": owner.id,
        "content": "d",
        "createdAt": row["createdAt"],
    }


async def test_what_an_ack_marks_does_not_come_again(bot: Bot) -> None:
    place = await bot.place()
    await bot.hears(place, "a", "b")
    ack = (await bot.inbox())["ack"]
    assert contents((await bot.inbox())["messages"]) == ["a", "b"], "nothing is read before it is acknowledged"
    await bot.hears(place, "c")
    assert contents((await bot.inbox(ack=ack))["messages"]) == ["c"]
    found = await bot.inbox(ack=ack)
    assert (contents(found["messages"]), found["unread"]) == (["c"], 1), "an old ack changes nothing"


async def test_ones_own_and_deleted_messages_and_what_was_before_one_joined_are_not_unread(bot: Bot) -> None:
    place = await bot.place(joined=False)
    await bot.hears(place, "before")
    await bot.owner("add_participant", conversationId=place, kind="agent", agentId=bot.id)
    gone, _ = await bot.hears(place, "gone", "kept")
    await bot.owner("send_message", conversationId=place, content="mine", as_=bot.id)
    found = await bot.inbox()
    assert (contents(found["messages"]), found["unread"]) == (["gone", "kept"], 2)
    await bot.owner("delete", id=gone)
    found = await bot.inbox()
    assert (contents(found["messages"]), found["unread"]) == (["kept"], 1)
    assert (await bot.inbox(ack=found["ack"]))["unread"] == 0


async def test_the_same_is_counted_after_a_restart(tmp_path: Path) -> None:
    """What is kept current and what is read from the file are the same."""
    async with Swarm(tmp_path / "data") as swarm:
        owner = swarm.owner
        bot = Bot(owner, await owner("create_agent", name="Bot", description="d", kind="user_agent"))
        place = await bot.place()
        await bot.hears(place, "a @me", "gone", "c", "d @me")
        found = await bot.inbox(limit=1)
        await bot.inbox(ack=found["ack"])
        await owner("delete", id=(await bot.inbox())["messages"][0]["messages"][0]["_id"])
        await owner("send_message", conversationId=place, content="mine", as_=bot.id)
        before = await bot.inbox()
    async with Swarm(tmp_path / "data") as swarm:
        after = await Bot(swarm.owner, {"_id": bot.id}).inbox()
    assert (len(ids(before["mentions"])), contents(before["messages"]), before["unread"]) == (1, ["c"], 2)
    assert after | {"now": 0} == before | {"now": 0}


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_memory_and_file_count_the_same(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with Swarm(tmp_path / "data") as swarm:
        owner = swarm.owner
        bot = Bot(owner, await owner("create_agent", name="Bot", description="d", kind="user_agent"))
        places = [await bot.place(str(number), joined=number > 0) for number in range(3)]
        await bot.inbox()  # from here on it is kept current
        for _ in range(60):
            await _something(rng, bot, places)
        before = await bot.inbox(limit=200, maxTokens=25_000)
    async with Swarm(tmp_path / "data") as swarm:
        after = await Bot(swarm.owner, {"_id": bot.id}).inbox(limit=200, maxTokens=25_000)
    assert after | {"now": 0} == before | {"now": 0}
    assert before["unread"] == len(ids(before["mentions"]) + ids(before["messages"]))


async def _something(rng: random.Random, bot: Bot, places: list[str]) -> None:
    """One random deed in one of the conversations; what is refused changes nothing."""
    place, owner = rng.choice(places), bot.owner
    rows = (await owner.find("conversationMessages", where={"conversationId": place}))[:8]
    message = rng.choice(rows)["_id"] if rows else None
    match rng.choice(["say", "say", "say", "mention", "own", "delete", "edit", "leave", "read", "ack", "part of it"]):
        case "say":
            await bot.hears(place, "text")
        case "mention":
            await bot.hears(place, "@me")
        case "own":
            await owner.raw("send_message", conversationId=place, content=f"mine {bot.mention}", as_=bot.id)
        case "delete" if message is not None:
            await owner.raw("delete", id=message)
        case "edit" if message is not None:
            await owner.raw("update", id=message, fields={"content": rng.choice([bot.mention, "edited"])})
        case "leave" | "read" as deed:
            where = {"conversationId": place, "agentId": bot.id}
            for part in await owner.find("conversationParticipants", where=where):
                if deed == "leave":
                    await owner("delete", id=part["_id"])
                elif message is not None:
                    seq = int(message.removeprefix("msg_"))
                    await owner.raw("update", id=part["_id"], fields={"lastReadSeq": seq}, as_=bot.id)
        case "ack" | "part of it" as deed:
            found = await bot.inbox(limit=200 if deed == "ack" else 2)
            await bot.inbox(**{"ack": found["ack"]} if "ack" in found else {})


@pytest.mark.parametrize("change", ["removed", "blocked"])
async def test_who_takes_part_no_longer_has_nothing_unread(bot: Bot, change: str) -> None:
    place = await bot.place()
    await bot.hears(place, "a @me")
    assert (await bot.inbox())["unread"] == 1
    (part,) = await bot.owner.find("conversationParticipants", where={"conversationId": place, "agentId": bot.id})
    if change == "removed":
        await bot.owner("delete", id=part["_id"])
    else:
        await bot.owner("update", id=part["_id"], fields={"status": "blocked"})
    found = await bot.inbox()
    assert (found["mentions"], found["messages"], found["unread"]) == ([], [], 0)


async def test_a_deleted_conversation_leaves_nothing(bot: Bot) -> None:
    place = await bot.place()
    await bot.hears(place, "a @me")
    assert (await bot.inbox())["unread"] == 1
    await bot.owner("delete", id=place)
    found = await bot.inbox()
    assert (found["mentions"], found["messages"], found["unread"]) == ([], [], 0)


# Mentions.


async def test_mentions_come_first_and_once(bot: Bot) -> None:
    quiet, busy = await bot.place("Quiet"), await bot.place("Busy")
    await bot.hears(busy, "x", "one @me")
    await bot.hears(quiet, "two @me")
    await bot.hears(busy, "y", "three @me")
    found = await bot.inbox()
    assert [text.split()[0] for text in contents(found["mentions"])] == ["one", "two", "three"]
    assert [group["conversation"]["title"] for group in found["mentions"]] == ["Busy", "Quiet", "Busy"]
    assert contents(found["messages"]) == ["x", "y"]
    assert found["unread"] == 5
    found = await bot.inbox(ack=found["ack"])
    assert (found["mentions"], found["messages"], found["unread"]) == ([], [], 0)


async def test_a_mention_that_was_shown_does_not_come_again_though_older_messages_wait(bot: Bot) -> None:
    place = await bot.place()
    await bot.hears(place, "a", "b", "look @me", "c")
    found = await bot.inbox(limit=1)
    assert contents(found["mentions"]) == [f"look {bot.mention}"]
    assert found["messages"] == []
    found = await bot.inbox(ack=found["ack"])
    assert found["mentions"] == []
    assert contents(found["messages"]) == ["a", "b", "c"], "an ack marks nothing that was not shown"
    assert found["unread"] == 3
    assert (await bot.inbox(ack=found["ack"]))["unread"] == 0


async def test_being_brought_in_by_a_mention(bot: Bot) -> None:
    place = await bot.place(joined=False)
    await bot.hears(place, "before", "come @me")
    found = await bot.inbox()
    assert contents(found["mentions"]) == [f"come {bot.mention}"]
    (note,) = found["messages"][0]["messages"]
    assert note["kind"] == "system"
    assert found["unread"] == 2


async def test_a_user_has_an_inbox_too(swarm: Swarm, owner: Tools) -> None:
    ada, client = await swarm.user("Ada")
    place = (await owner("create_conversation", title="Plan", participants=[ada]))["_id"]
    await owner("send_message", conversationId=place, content=f"@[Ada](user:{ada}) @[A](agent:{ada})")
    assert (await client("inbox"))["unread"] == 1
    assert len((await client("inbox"))["mentions"]) == 1


# Pages.


async def collected(bot: Bot, *, acknowledging: bool, **arguments: Any) -> list[str]:
    """The ids on all pages; every page may mark the one before."""
    found: dict[str, Any] = {}
    seen: list[str] = []
    while not found or "nextCursor" in found:
        more = {"cursor": found["nextCursor"]} if found else {}
        if found and acknowledging:
            more["ack"] = found["ack"]
        found = await bot.inbox(**arguments, **more)
        page = ids(found["mentions"]) + ids(found["messages"])
        assert page or "nextCursor" not in found
        seen += page
    if acknowledging and "ack" in found:
        assert (await bot.inbox(ack=found["ack"]))["unread"] == 0
    return seen


@pytest.mark.parametrize("acknowledging", [True, False])
@pytest.mark.parametrize("arguments", [{"limit": 1}, {"limit": 3}, {"limit": 200}, {"maxTokens": 200}])
async def test_pages_show_everything_once(bot: Bot, arguments: dict[str, Any], acknowledging: bool) -> None:
    places = [await bot.place(str(number)) for number in range(3)]
    sent: list[str] = []
    for number in range(13):
        text = f"{number} @me" if number % 4 == 1 else f"{number}"
        sent += await bot.hears(places[number % 3], text + " word" * 40)
    await bot.owner("send_message", conversationId=places[1], content="mine", as_=bot.id)
    seen = await collected(bot, acknowledging=acknowledging, **arguments)
    mentioning = [sent[number] for number in range(13) if number % 4 == 1]
    rest = [sent[n] for last in (1, 0, 2) for n in range(last, 13, 3) if n % 4 != 1]
    assert seen == mentioning + rest


async def test_what_arrives_meanwhile_is_on_no_page_that_was_begun(bot: Bot) -> None:
    place = await bot.place()
    await bot.hears(place, "a", "b")
    first = await bot.inbox(limit=1)
    await bot.hears(place, "late @me")
    second = await bot.inbox(cursor=first["nextCursor"])
    assert (contents(second["messages"]), second["mentions"], second["unread"]) == (["b"], [], 3)
    assert "nextCursor" not in second
    third = await bot.inbox(ack=second["ack"])
    assert (contents(third["mentions"]), third["messages"]) == ([f"late {bot.mention}"], [])


async def test_long_texts_are_cut_and_say_how_to_get_the_rest(bot: Bot) -> None:
    place = await bot.place()
    (long, _) = await bot.hears(place, "x" * 12_345, "short")
    found = await bot.inbox()
    entry, short = found["messages"][0]["messages"]
    assert entry["content"] == "x" * 4_000
    assert entry["cut"] == f"get(id={long}) has all 12,345 characters"
    assert "cut" not in short
    found = await bot.inbox(maxTokens=200)
    assert len(str(found)) < 200 * 4 + 600
    assert len(found["messages"][0]["messages"][0]["content"]) == 400


@pytest.mark.parametrize("cursor", ["x", "1", "1.x.2", "1.m", "1.m.2.3.4", "-1.m.2", "1.m.\u0662"])
async def test_a_cursor_of_somebody_else(bot: Bot, cursor: str) -> None:
    error = await bot.owner.refused("inbox", cursor=cursor, as_=bot.id)
    assert error.code == "invalid"


# Acks.


async def test_an_ack_is_of_the_one_it_was_given_to(swarm: Swarm, bot: Bot, owner: Tools) -> None:
    place = await bot.place()
    other = Bot(owner, await owner("create_agent", name="Other", description="d", kind="user_agent"))
    await owner("add_participant", conversationId=place, kind="agent", agentId=other.id)
    await bot.hears(place, "a")
    ack = (await bot.inbox())["ack"]
    error = await owner.refused("inbox", ack=ack, as_=other.id)
    assert error.text == "That ack is not one of yours; pass the ack of your last inbox as it came."
    assert (await other.inbox())["unread"] == 1


@pytest.mark.parametrize("ack", ["x", "AAAA", "AAAAAAAA", "é", "a" * 10_000, "-_=="])
async def test_what_is_no_ack(bot: Bot, ack: str) -> None:
    error = await bot.owner.refused("inbox", ack=ack, as_=bot.id)
    assert error.code == "invalid"
    assert "ack" in error.text


async def test_a_made_up_ack_never_reaches_beyond_what_there_is_nor_back(bot: Bot) -> None:
    place = await bot.place()
    await bot.hears(place, "a")
    far = Shown(read={place: 2**40}, mentioned={place: 2**40}).token(bot.id)
    back = Shown(read={place: 1}, mentioned={place: 1}).token(bot.id)
    strange = Shown(read={"conv_999999": 5, "no-such": 5}, reminders=["rem_999999"]).token(bot.id)
    for ack in (far, back, strange):
        assert (await bot.inbox(ack=ack))["unread"] == 1
    await bot.inbox(ack=(await bot.inbox())["ack"])
    (part,) = await bot.owner.find("conversationParticipants", where={"conversationId": place, "agentId": bot.id})
    await bot.inbox(ack=back)
    assert await bot.owner("get", id=part["_id"]) | {"seq": 0} == part | {"seq": 0}
    error = await bot.owner.refused("update", id=part["_id"], fields={"lastMentionSeq": 5})
    assert "cannot change" in error.text


async def test_ids_of_any_form_are_acknowledged(swarm: Swarm, bot: Bot) -> None:
    shown = Shown(read={"conv_3": 9, "My Room/1": 8}, mentioned={"conv_3": 7}, reminders=["rem_1", "Ünique"])
    token = shown.token("x")
    assert token is not None
    again = Shown.of(token, "x")
    assert again.read == shown.read
    assert {key: value for key, value in again.mentioned.items() if value} == shown.mentioned
    assert again.reminders == shown.reminders


async def test_marking_as_read_by_hand(bot: Bot) -> None:
    place = await bot.place()
    await bot.owner("send_message", conversationId=place, content="mine", as_=bot.id)
    await bot.hears(place, "a", "b @me", "c")
    assert (await bot.inbox())["unread"] == 3
    (part,) = await bot.owner.find("conversationParticipants", where={"conversationId": place, "agentId": bot.id})
    rows = await bot.owner.find("conversationMessages", where={"conversationId": place}, order="seq")
    seqs = [int(message["_id"].removeprefix("msg_")) for message in rows]
    await bot.owner("update", id=part["_id"], fields={"lastReadSeq": seqs[2]}, as_=bot.id)
    found = await bot.inbox()
    assert (found["mentions"], contents(found["messages"]), found["unread"]) == ([], ["c"], 1)
    await bot.owner("update", id=part["_id"], fields={"lastReadSeq": 0}, as_=bot.id)
    assert (await bot.inbox())["unread"] == 3


async def test_a_read_only_connection_reads_and_does_not_mark(swarm: Swarm, bot: Bot) -> None:
    place = await bot.place()
    await bot.hears(place, "a")
    ack = (await bot.inbox())["ack"]
    reader = await swarm.connect(bot.id, read_only=True)
    assert "inbox" in [tool.name for tool in (await reader.client.list_tools()).tools]
    assert (await reader("inbox"))["unread"] == 1
    error = await reader.refused("inbox", ack=ack)
    assert (error.code, error.text) == ("forbidden", "This connection is read-only; call inbox without 'ack'.")
    assert (await reader("inbox"))["unread"] == 1


# Reminders.


async def test_reminders_that_fired_are_shown_until_acknowledged(swarm: Swarm, bot: Bot, era: str) -> None:
    given = {"agent_id": bot.id, "remind_at": 1_000_000, "fired_at": 1_030_000}
    on_time = await swarm.insert(Reminder, message="tea", status="fired", related_entity="conv_1", **given)
    late = await swarm.insert(Reminder, message="cake", status="fired", **given | {"fired_at": 8_500_000})
    await swarm.insert(Reminder, message="not yet", status="pending", agent_id=bot.id, remind_at=9_000_000_000_000)
    await swarm.insert(Reminder, message="read", status="read", **given)
    await swarm.insert(Reminder, message="another's", status="fired", user_id=swarm.service.owner.id, remind_at=1)
    tools = await swarm.connect(era=era)
    found = await tools("inbox", as_=bot.id)
    assert found["reminders"] == [
        {"_id": on_time.id, "content": "tea", "remindAt": 1_000_000, "relatedEntity": "conv_1"},
        {"_id": late.id, "content": "cake", "remindAt": 1_000_000, "late": "2 h 5 min"},
    ]
    found = await tools("inbox", as_=bot.id, ack=found["ack"])
    assert found["reminders"] == []
    assert (await bot.owner("get", id=late.id))["status"] == "read"


async def test_an_ack_of_many_long_ids_is_taken(swarm: Swarm, bot: Bot) -> None:
    rng = random.Random(1)
    user = {**USER, "_id": "u-long", "email": "long@example.org"}
    lines: list[dict[str, Any]] = [user]
    for number in range(200):
        place = "".join(rng.choices(string.ascii_letters, k=200))
        member = {**MEMBER, "_id": f"long{number}", "conversationId": place, "userId": "u-long"}
        lines += [
            {**CONVERSATION, "_id": place, "createdBy": "u-long"},
            member,
            {**member, "_id": f"bot{number}", "kind": "agent", "agentId": bot.id, "userId": None},
            {**MESSAGE, "conversationId": place, "authorParticipantId": member["_id"]},
        ]
    assert (await load(swarm, *lines)).refused == {}
    found = await bot.inbox(limit=200, maxTokens=25_000)
    assert found["unread"] == 200
    assert (await bot.inbox(ack=found["ack"]))["unread"] == 0
