"""What can be stored at all: everything else would fail in the writer, and hit everybody's requests."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from storage.fields import (
    EARLIEST_MS,
    JSON_DEPTH,
    LATEST_MS,
    Json,
    JsonList,
    Seq,
    Time,
    Vector,
    from_timestamp,
    iso,
    to_timestamp,
)
from storage.tables import Message
from tests.clients import Swarm
from tests.invariants import rows_in_file

MESSAGE: dict[str, Any] = {"conversation_id": "c", "author_participant_id": "p", "kind": "participant"}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Time, LATEST_MS + 1),
        (Time, EARLIEST_MS - 1),
        (Time, 10**30),
        (Seq, -1),
        (Seq, 2**63),
        (Vector, [math.nan]),
        (Vector, [math.inf]),
        (Vector, [3.5e38]),
        (Json, math.nan),
        (Json, {"a": [-math.inf]}),
        (Json, "\ud800"),
        (Json, {"\udfff": 1}),
        (Json, {1: 2}),
        (Json, b"bytes"),
        (Json, {1, 2}),
        (Json, nested(JSON_DEPTH + 1)),
        (JsonList, ["\ud800"]),
        (JsonList, nested(JSON_DEPTH + 1)),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_stored_is_refused(kind: Any, wrong: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(wrong)


@given(st.integers(EARLIEST_MS, LATEST_MS))
def test_times_keep_their_milliseconds(ms: int) -> None:
    assert from_timestamp(to_timestamp(ms)) == ms
    assert iso(ms).endswith("Z")
    assert TypeAdapter(Time).validate_python(ms) == ms


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**300), 10**300),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=12),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@given(
    content=st.text(min_size=1, max_size=200),
    meta=json_values,
    attachments=st.none() | st.lists(json_values, max_size=3),
    vector=st.none() | st.lists(st.floats(-3e38, 3e38), min_size=1, max_size=4),
    tags=st.none() | st.lists(st.text(max_size=10), max_size=3),
    created_at=st.integers(EARLIEST_MS, LATEST_MS),
)
async def test_whatever_passes_is_read_as_it_was_written(shared: Swarm, **fields: Any) -> None:
    """Through the Appender and through UPDATE, which convert differently."""
    row = await shared.insert(Message, **MESSAGE, **fields)
    plain = await shared.insert(Message, **MESSAGE, content="x")

    async def change(tx: Any) -> Message:
        changes = {name: value for name, value in fields.items() if name != "created_at"}
        return tx.update(plain, **changes)  # type: ignore[no-any-return]

    changed = await shared.service.engine.writer.run(change)
    stored = {found.id: found for found in (await rows_in_file(shared, Message))[-2:]}
    assert stored[row.id] == row
    assert stored[changed.id] == changed
    assert json.dumps(stored[row.id].wire()) == json.dumps(row.wire())
    assert shared.failures == []
