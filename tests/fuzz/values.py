"""Values that a tool does not want: by its schema, or of no sense at all."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

DEEP, HUGE = "@deep@", "@huge@"
"""Stand for what Python's encoder refuses to write: see `written`."""
LEVELS = (65, 500, 5_000, 100_000)
DIGITS = (400, 5_000, 100_000)

TEXTS: tuple[str, ...] = (
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\ufeff",
    "\u202e\u2066x",
    "\r\n\r\nHTTP/1.1 200 OK",
    "\x1b[2J",
    "é" * 64,
    "\U0001f9ff" * 300,
    "' OR 1=1 --",
    '"; DROP TABLE messages; --',
    "$$; COPY messages TO '/dev/null'; $$",
    "../../../../etc/passwd",
    "%2e%2e%2f%00",
    "one://conversations/%00",
    "one://agents/../users/x",
    "{{title}}{{__class__}}",
    "{{ self.__init__.__globals__ }}",
    "${7*7}",
    "<script>alert(1)</script>",
    "@[x](user:user_1)@[y](agent:agent_1)",
    "-inf",
    "NaN",
    "null",
    "true",
    "1e999",
    "9" * 400,
    "2026-13-45T99:99:99Z",
    "0001-01-01T00:00:00-23:59",
    "9999-12-31T23:59:59+00:00",
    "conv_0",
    "conv_-1",
    "conv_99999999999999999999999",
    "msg_" + "1" * 300,
    "_",
    "user_\u0661",
    "__proto__",
)
NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    -(2**63),
    2**63,
    2**64,
    10**30,
    1.5,
    -0.0,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    HUGE,
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": ""}, {"$ref": "#"}, DEEP)
SIZES = (1_000, 20_000, 200_000)


def nonsense(random: Random) -> Any:
    """Any JSON value that nobody asked for."""
    match random.randrange(6):
        case 0:
            return random.choice(NUMBERS)
        case 1:
            return random.choice(OTHERS)
        case 2:
            return random.choice("ab\u2028\0é ") * random.choice(SIZES[:2])
        case 3:
            return [random.choice(TEXTS) for _ in range(random.choice((1, 3, 300)))]
        case 4:
            return {random.choice(TEXTS): random.choice(NUMBERS) for _ in range(random.choice((1, 3, 40)))}
    return random.choice(TEXTS)


def fitting(random: Random, schema: dict[str, Any], ids: Sequence[str]) -> Any:
    """A value of the type that is asked for, which may still be a bad one."""
    if "enum" in schema:
        return random.choice(schema["enum"])
    match schema.get("type"):
        case "string":
            return random.choice(ids) if random.random() < 0.6 else random.choice(TEXTS)
        case "integer":
            return random.choice((0, 1, 2, 50, 10_000, -1, 2**40))
        case "number":
            return random.choice((0, 0.01, 1, -1, 1e9))
        case "boolean":
            return random.random() < 0.5
        case "array":
            item = schema.get("items") or {}
            return [fitting(random, item, ids) for _ in range(random.choice((0, 1, 2, 400)))]
        case "object":
            return {random.choice(FIELDS): _condition(random, ids) for _ in range(random.choice((1, 2, 12)))}
    return nonsense(random)


FIELDS = ("title", "content", "name", "_id", "createdAt", "createdBy", "email", "tags", "vector", "seq", "x", "", "\0")


def _condition(random: Random, ids: Sequence[str]) -> Any:
    value = random.choice(ids) if random.random() < 0.5 else nonsense(random)
    if random.random() < 0.5:
        return value
    return {random.choice(("eq", "ne", "lt", "lte", "gt", "gte", "in", "has", "contains", "exists", "or", "")): value}


def arguments(random: Random, schema: dict[str, Any], ids: Sequence[str]) -> Any:
    """Arguments of a tool, most of them with something wrong."""
    if random.random() < 0.03:
        return nonsense(random)
    properties: dict[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    given = {
        name: nonsense(random) if random.random() < 0.25 else fitting(random, one, ids)
        for name, one in properties.items()
        if random.random() < (0.93 if name in required else 0.3)
    }
    if random.random() < 0.1:
        given[random.choice((*FIELDS, "__class__", "limt"))] = nonsense(random)
    return given


def written(random: Random, text: str) -> str:
    """JSON with what stands for the deepest and the largest put in, once each: a body has its limits."""
    if DEEP in text:
        levels = random.choice(LEVELS)
        opened, closed = random.choice((("[", "]"), ('{"a":', "}")))
        deepest = opened * levels + "1" + closed * levels
        text = text.replace(f'"{DEEP}"', deepest, 1).replace(f'"{DEEP}"', "[[]]")
    if HUGE in text:
        huge = random.choice("-1") + "7" * random.choice(DIGITS)
        text = text.replace(f'"{HUGE}"', huge, 1).replace(f'"{HUGE}"', "-1")
    return text
