"""`one-mcp inbox`: the hub's side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from server.answers import Failure
from server.binding import BOUND, call
from server.connections import CommandFailed, Progress, UnknownCaller
from server.endpoint import Hello
from storage.fields import iso
from tools_impl.transcripts import NOTICE, named, plain, quoted

if TYPE_CHECKING:
    from server.service import Service


async def inbox(service: Service, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    """What is unread for the user or agent `as`, as `text` (empty when nothing is) and as the tool's result `inbox`.

    With `ack`, a token of such a result, that is marked as read before. Raises CommandFailed.
    """
    acts_as, ack = arguments.get("as"), arguments.get("ack")
    try:
        session = await service.connection(Hello("", acts_as=acts_as))
    except UnknownCaller as error:
        raise CommandFailed(str(error)) from None
    result = await call(service, session, BOUND["inbox"], {} if ack is None else {"ack": ack}, None)
    if isinstance(result, Failure):
        raise CommandFailed(result.message)
    data = result.wire()
    return {"inbox": data, "text": _markdown(data)}


def _markdown(data: dict[str, Any]) -> str:
    names = data["authors"]
    parts = [_reminder(entry) for entry in data["reminders"]]
    for title, groups in (("Mentions in ", data["mentions"]), ("", data["messages"])):
        for group in groups:
            conversation = group["conversation"]
            parts.append(f"## {title}{plain(conversation['title'])} ({named(conversation['_id'])})")
            parts += [_message(entry, names) for entry in group["messages"]]
    if not parts:
        return ""
    if "nextCursor" in data:
        parts.append("There is more: call the tool inbox.")
    return "\n\n".join([f"# Inbox: {data['unread']} unread", NOTICE, *parts]) + "\n"


def _reminder(entry: dict[str, Any]) -> str:
    late = f", {entry['late']} late" if "late" in entry else ""
    about = f" · about {named(entry['relatedEntity'])}" if "relatedEntity" in entry else ""
    return f"**Reminder** · {iso(entry['remindAt'])}{late} · {named(entry['_id'])}{about}\n\n{_text(entry)}"


def _message(entry: dict[str, Any], names: dict[str, str]) -> str:
    author = entry.get("from", "?")
    system = " · system" if "kind" in entry else ""
    header = f"**{plain(names.get(author, '?'))}** ({named(author)}) · {iso(entry['createdAt'])}"
    return f"{header} · {named(entry['_id'])}{system}\n\n{_text(entry)}"


def _text(entry: dict[str, Any]) -> str:
    cut = f"\n\n(cut: {entry['cut']})" if "cut" in entry else ""
    return quoted(entry["content"]) + cut
