"""What must hold of every answer, however hostile the request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.fuzz.cases import Case
from tests.fuzz.wire import Answer
from tests.fuzz.world import World

OURS = re.compile(r"Traceback \(most recent|File \"[^\"]+\", line|site-packages|pydantic|Input should be|\.py\b")
"""What only our own code, or a library's, would say."""
INTERNAL = -32603
_LINES = re.compile(r"\r\n|\r|\n")
_LIMITS = re.compile("Too many")


def faults(world: World, case: Case, answer: Answer) -> Iterator[str]:
    """What is wrong with an answer, in words; nothing if all is well."""
    text = answer.body.decode("utf-8", "replace")
    if answer.status >= 500:
        yield f"status {answer.status}: {text[:300]}"
    if case.refused is not None and answer.status != case.refused:
        yield f"status {answer.status} instead of {case.refused}: {text[:300]}"
    everything = " ".join((*answer.headers.values(), text))
    secrets = world.secrets if case.caller is None or not case.caller.sees_all else world.secrets[1:]
    yield from (f"says {secret!r}: {text[:300]}" for secret in secrets if secret in everything)
    said = OURS.search(text)
    if said is not None:
        yield f"says {said[0]!r}: {text[max(0, said.start() - 200) : said.end() + 200]}"
    yield from _protocol(case, answer, text)


def _protocol(case: Case, answer: Answer, text: str) -> Iterator[str]:
    kind = answer.headers.get("content-type", "")
    if kind.startswith("application/json") and text:
        messages = [text]
    elif kind.startswith("text/event-stream"):
        messages = [line[5:] for line in _LINES.split(text) if line.startswith("data:") and line[5:].strip()]
    else:
        return
    for one in messages:
        try:
            message = json.loads(one, parse_constant=_no_number)
        except ValueError as error:
            yield f"no JSON ({error}): {one[:300]}"
            continue
        if isinstance(message, dict):
            yield from _message(case, answer, message)


def _message(case: Case, answer: Answer, message: dict[str, Any]) -> Iterator[str]:
    error = message.get("error")
    if isinstance(error, dict):
        if error.get("code") in (INTERNAL, 0) and not _LIMITS.search(str(error.get("message"))):
            yield f"an error of the server's own: {json.dumps(error)[:300]}"
    elif case.request_id is not None and "method" not in message and message.get("id") != case.request_id:
        yield f"the answer is to {message.get('id')!r} instead of {case.request_id!r}"


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
