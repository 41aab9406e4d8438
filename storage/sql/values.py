"""Values of DuckDB as JSON has them. Runs in the worker; standard library only.

A number stays one where every reader of JSON gets the same value, otherwise it is text. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

EXACT = 2**53
"""Beyond it not every whole number is a double, which is what many readers of JSON have."""
AS_TEXT = ("WITH TIME ZONE", "INTERVAL", "TIMESTAMP_NS")
"""Types whose values Python's cannot hold without a loss or another package: DuckDB writes them as text."""

_FIRST, _LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001  as DuckDB's are: UTC


def plain(value: Any) -> Any:
    """A value as JSON takes it."""
    convert = _CONVERTERS.get(type(value))
    return str(value) if convert is None else convert(value)


def _same(value: Any) -> Any:
    return value


def _int(value: int) -> int | str:
    return value if -EXACT <= value <= EXACT else str(value)


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decimal(value: Decimal) -> int | float | str:
    if value == value.to_integral_value():
        return _int(int(value))
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)


def _datetime(value: datetime) -> str:
    if value in (_LAST, _FIRST):
        return "infinity" if value == _LAST else "-infinity"
    return value.isoformat(timespec="microseconds" if value.microsecond % 1000 else "milliseconds") + "Z"


def _date(value: date) -> str:
    if value in (date.max, date.min):
        return "infinity" if value == date.max else "-infinity"
    return value.isoformat()


def _list(value: list[Any] | tuple[Any, ...]) -> list[Any]:
    return [plain(item) for item in value]


def _dict(value: dict[Any, Any]) -> dict[str, Any]:
    return {key if isinstance(key, str) else str(plain(key)): plain(item) for key, item in value.items()}


_CONVERTERS: dict[type, Callable[[Any], Any]] = {
    type(None): _same,
    bool: _same,
    str: _same,
    int: _int,
    float: _float,
    Decimal: _decimal,
    datetime: _datetime,
    date: _date,
    time: time.isoformat,
    bytes: bytes.hex,
    bytearray: bytearray.hex,
    memoryview: memoryview.hex,
    list: _list,
    tuple: _list,
    dict: _dict,
}
