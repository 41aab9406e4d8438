"""What is counted while the hub serves: plain numbers, cheap to count. `server/exposition.py` writes them out."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from storage.spent import Spent

if TYPE_CHECKING:
    from storage.engine import Engine

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
OK = "ok"
OTHER = "other"
_METHODS = frozenset(
    [
        *("initialize", "ping", "server/discover", "tools/list", "tools/call", "completion/complete"),
        *("resources/list", "resources/templates/list", "resources/read", "resources/subscribe"),
        *("resources/unsubscribe", "prompts/list", "prompts/get", "logging/setLevel", "subscriptions/listen"),
    ]
)


def method_label(method: str) -> str:
    """The method of a request; "other" for one that is none of MCP: a caller may send any."""
    return method if method in _METHODS else OTHER


class Histogram:
    """How often values fell between bounds. The last count is of values above all of them."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """Counts of one hub. Only touched by the thread of the loop.

    `gauges` are asked when somebody looks: name -> what it is, and a function for the value.
    """

    def __init__(self, engine: Engine) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        """By tool and outcome: "ok" or the code of an error."""
        self.requests: Counter[tuple[str, str]] = Counter()
        """All others by method and outcome."""
        self.responses: Counter[int] = Counter()
        """Of HTTP, by status."""
        self.seconds: dict[str, Histogram] = {}
        """What calls of a tool took, by tool."""
        self.queue = Histogram(SECONDS)
        self.commit = Histogram(SECONDS)
        self.search = Histogram(SECONDS)
        self.batches = Histogram(SIZES)
        self.commits = Histogram(SECONDS)
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        engine.writer.observers.append(self._committed)

    def called(self, tool: str, outcome: str, seconds: float, spent: Spent) -> None:
        """A tool was called."""
        self.calls[tool, outcome] += 1
        whole = self.seconds.get(tool)
        if whole is None:
            whole = self.seconds[tool] = Histogram(SECONDS)
        whole.observe(seconds)
        if spent.commit:
            self.queue.observe(spent.queue)
            self.commit.observe(spent.commit)
        if spent.search:
            self.search.observe(spent.search)

    def _committed(self, requests: int, seconds: float) -> None:
        self.batches.observe(requests)
        self.commits.observe(seconds)
