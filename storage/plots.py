"""Draws the rows of a query: which kind of chart suits them, and the image. Runs in a process of its own in the hub.

Imports nothing of ours, so that such a process is small.
"""

from __future__ import annotations

import io
import json
import logging
import math
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal

Kind = Literal["line", "bar", "funnel", "heatmap"]
Format = Literal["png", "svg"]

WIDTH, HEIGHT, DPI = 8.0, 4.5, 110
"""Inches and dots: 880 by 495 pixels."""
SHADES = 96
SERIES = 8
BARS = 40
CELLS = 60
LABEL_CHARS = 28
ROW_CHARS = 85
FEW = 40
TITLE_CHARS = 90
CARD, INK, FAINT, GRID = "#fbfbfa", "#24262b", "#6a6e76", "#e2e3e1"
COLORS = ("#2f72c4", "#c4581c", "#1b8a6b", "#a8549b", "#94750f", "#5c6bc0", "#b5485d", "#4f7f99")
"""Each has a contrast of 3 or more on a light and on a dark background."""
_FALLBACKS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Hiragino Sans", "Microsoft YaHei", "Arial Unicode MS")
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$|DOUBLE|FLOAT|DECIMAL|UINTEGER")
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class NotDrawable(Exception):
    """The rows cannot be drawn as asked. The text says what would do."""


@dataclass(frozen=True, slots=True)
class Data:
    """What a chart shows: `labels` on the x axis and for each series its name and a value a label (None: no value)."""

    kind: Kind
    x: str
    labels: list[Any]
    series: list[tuple[str, list[float | None]]]
    value: str
    cut: int = 0


def arranged(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]], kind: Kind | None) -> Data:
    """The rows as labels and series. The first column has the labels; numbers are series, a text column names them.

    Raises:
        NotDrawable: there are no rows, or no numbers.
    """
    if not rows:
        raise NotDrawable("The query has no rows, so there is nothing to draw.")
    numbers = [place for place, (_, type_) in enumerate(columns) if place > 0 and _NUMBER.match(type_)]
    if not numbers:
        found = ", ".join(f"{name} {type_}" for name, type_ in columns)
        raise NotDrawable(f"A chart needs a column of labels, then at least one of numbers; these are {found}.")
    others = [place for place in range(1, len(columns)) if place not in numbers]
    x_type = columns[0][1]
    labels = list(dict.fromkeys(_label(row[0], x_type) for row in rows))
    place_of = {label: place for place, label in enumerate(labels)}
    series: dict[str, list[float | None]] = {}
    for row in rows:
        for number in numbers if not others else numbers[:1]:
            name = _clean(row[others[0]]) if others else _clean(columns[number][0])
            values = series.setdefault(name, [None] * len(labels))
            values[place_of[_label(row[0], x_type)]] = _number(row[number])
    chosen = kind or _suitable(x_type, labels, len(series))
    most = 1 if chosen == "funnel" else CELLS if chosen == "heatmap" else SERIES
    shown = list(series.items())[:most]
    limit = {"bar": BARS, "funnel": BARS, "heatmap": CELLS}.get(chosen, len(labels))
    return Data(
        chosen,
        columns[0][0],
        labels[:limit],
        [(name, values[:limit]) for name, values in shown],
        columns[numbers[0]][0],
        cut=len(labels) - min(limit, len(labels)),
    )


def _number(value: Any) -> float | None:
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def _suitable(x_type: str, labels: list[Any], series: int) -> Kind:
    if _is_time(x_type) or _NUMBER.match(x_type):
        return "line" if len(labels) > 1 else "bar"
    return "heatmap" if series > SERIES else "bar"


def _is_time(type_: str) -> bool:
    return type_ == "DATE" or type_.startswith("TIMESTAMP")


def _label(value: Any, type_: str) -> Any:
    if _is_time(type_):
        return _moment(value)
    if _NUMBER.match(type_) and value is not None:
        return float(value)
    return _clean(value)


def _moment(value: Any) -> date:
    try:
        return datetime.fromisoformat(str(value)).replace(tzinfo=None)
    except ValueError:
        raise NotDrawable(f"'{value or 'NULL'}' has no place on an axis of times: filter it out.") from None


def _clean(value: Any) -> str:
    if isinstance(value, datetime):
        return value.date().isoformat() if value == datetime.combine(value.date(), time()) else value.isoformat(" ")
    return _HIDDEN.sub(" ", "(none)" if value is None else str(value))


def described(data: Data) -> str:
    """What the chart shows, in words: its alternative text."""
    names = ", ".join(_cut(name) for name, _ in data.series[:4]) + (", ..." if len(data.series) > 4 else "")
    values = [value for _, series in data.series for value in series if value is not None]
    extent = f", {_exact(min(values))} to {_exact(max(values))}" if values else ""
    first, last = _cut(_name(data.labels[0])), _cut(_name(data.labels[-1]))
    span = first if len(data.labels) == 1 else f"{first} to {last}"
    rest = f"; {data.cut:,} more labels are not shown" if data.cut else ""
    return f"{data.kind.capitalize()} chart of {names} by {_cut(_clean(data.x))} ({span}){extent}{rest}"


def cache_environment(data_dir: Path) -> dict[str, str]:
    """Where the library keeps its list of fonts: with the data, not in the home of the user. Set it before `drawn`."""
    return {"MPLCONFIGDIR": str(data_dir / "matplotlib")}


def drawn(data: Data, title: str | None, form: Format, salt: str = "one-mcp") -> bytes:
    """The image. `salt` keeps the ids of several SVGs in one page apart."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with mpl.rc_context(_style(salt)), warnings.catch_warnings():
        # No font has every letter; a box stands for those that are missing.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # Of a single day there is no interval between ticks.
        warnings.filterwarnings("ignore", message="AutoDateLocator was unable to pick an appropriate interval")
        layout = ConstrainedLayoutEngine(w_pad=0.16, h_pad=0.14)
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor=CARD, layout=layout)
        axes = figure.add_subplot()
        axes.set_facecolor(CARD)
        _DRAW[data.kind](axes, data)
        if title:
            words = _clean(title)
            axes.set_title(
                words if len(words) <= TITLE_CHARS else words[: TITLE_CHARS - 1] + "…",
                loc="left",
                color=INK,
                fontsize=13,
                fontweight="bold",
                pad=12,
            )
        return _svg(figure) if form == "svg" else _png(figure)


def _svg(figure: Any) -> bytes:
    target = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(target, format="svg", facecolor=CARD, metadata=nothing)
    return target.getvalue()


def _png(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba()))
    target = io.BytesIO()
    # A palette makes a third of it: charts have few colors.
    image.convert("RGB").quantize(SHADES).save(target, "PNG", optimize=True)
    return target.getvalue()


def _style(salt: str) -> Any:
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return {
        "font.family": ["DejaVu Sans", *(name for name in _FALLBACKS if name in installed)],
        "font.size": 10,
        "text.parse_math": False,  # a dollar is a dollar
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "axes.edgecolor": GRID,
        "axes.labelcolor": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "ytick.left": False,
        "axes.grid.axis": "y",
        "grid.color": GRID,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "legend.labelcolor": INK,
    }


def _line(axes: Any, data: Data) -> None:
    named = any(isinstance(label, str) for label in data.labels)
    at: list[Any] = list(range(len(data.labels))) if named else data.labels
    in_order = sorted(range(len(at)), key=at.__getitem__)
    marks = {"marker": "o", "markersize": 4} if len(at) <= FEW else {}
    for (name, values), color in zip(data.series, COLORS, strict=False):
        heights = [math.nan if (value := values[place]) is None else value for place in in_order]
        axes.plot([at[place] for place in in_order], heights, color=color, linewidth=2, label=_cut(name), **marks)
    if named:
        every = max(1, len(at) // BARS)
        _named_ticks(axes, data.labels[::every], every)
    elif isinstance(data.labels[0], date):
        _time_ticks(axes)
        if len(set(data.labels)) == 1:  # or the axis would span years
            axes.set_xlim(data.labels[0] - timedelta(days=1), data.labels[0] + timedelta(days=1))
    _finish(axes, data)


def _time_ticks(axes: Any) -> None:
    from matplotlib import dates

    made: Any = dates
    locator = made.AutoDateLocator(maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(made.ConciseDateFormatter(locator))


def _bar(axes: Any, data: Data) -> None:
    width = 0.8 / len(data.series)
    for place, ((name, values), color) in enumerate(zip(data.series, COLORS, strict=False)):
        at = [x + (place - (len(data.series) - 1) / 2) * width for x in range(len(data.labels))]
        axes.bar(at, [value or 0 for value in values], width * 0.92, color=color, label=_cut(name))
    _named_ticks(axes, data.labels)
    _finish(axes, data)


def _named_ticks(axes: Any, labels: list[Any], every: int = 1) -> None:
    texts = [_cut(_name(label)) for label in labels]
    crowded = sum(map(len, texts)) > ROW_CHARS
    places = range(0, len(texts) * every, every)
    axes.set_xticks(places, texts, rotation=40 if crowded else 0, ha="right" if crowded else "center")


def _cut(text: str) -> str:
    return text if len(text) <= LABEL_CHARS else text[: LABEL_CHARS - 1] + "…"


def _finish(axes: Any, data: Data) -> None:
    axes.grid(visible=True, axis="y")
    axes.margins(x=0.02)
    if all(value is None or value >= 0 for _, values in data.series for value in values):
        axes.set_ylim(bottom=0)
    if all(value is None or float(value).is_integer() for _, values in data.series for value in values):
        axes.yaxis.get_major_locator().set_params(integer=True)  # nobody writes half a message
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.set_xlabel(_cut(_clean(data.x)))
    if len(data.series) > 1:
        axes.legend(ncols=min(4, len(data.series)), loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=9)
    else:
        axes.set_ylabel(_cut(data.series[0][0]))


def _funnel(axes: Any, data: Data) -> None:
    values = [max(value or 0.0, 0.0) for value in data.series[0][1]]
    widest, first = max(values) or 1.0, next((value for value in values if value), 1.0)
    places = range(len(values))
    axes.barh(places, values, left=[-value / 2 for value in values], height=0.72, color=COLORS[0])
    for place, value in enumerate(values):
        share = f"   {value / first:.0%}" if any(values) else ""
        axes.text(widest * 0.54, place, f"{_exact(value)}{share}", va="center", color=INK)
    names = [_cut(_name(label)) for label in data.labels]
    axes.set_yticks(places, names, color=INK)
    axes.set_xlim(-widest * 0.52, widest * 0.78)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel(f"{_cut(data.series[0][0])}, and its share of the first")


def _heatmap(axes: Any, data: Data) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    grid = [[float("nan") if value is None else value for value in values] for _, values in data.series]
    shades = LinearSegmentedColormap.from_list("one", ["#e8eef7", COLORS[0], "#12294a"])
    image = axes.imshow(grid, aspect="auto", cmap=shades)
    every = max(1, len(data.labels) // 12)
    axes.set_xticks(range(0, len(data.labels), every), [_cut(_name(x)) for x in data.labels[::every]])
    axes.tick_params(axis="x", rotation=30 if sum(len(_name(x)) for x in data.labels[::every]) > 70 else 0)
    step = max(1, len(data.series) // 24)
    names = [_cut(name) for name, _ in data.series]
    axes.set_yticks(range(0, len(names), step), names[::step])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel(_cut(_clean(data.x)))
    axes.figure.colorbar(
        image, ax=axes, label=_cut(_clean(data.value)), format=lambda value, _: _short(value)
    ).outline.set_visible(False)


_DRAW: dict[Kind, Callable[[Any, Data], None]] = {
    "line": _line,
    "bar": _bar,
    "funnel": _funnel,
    "heatmap": _heatmap,
}


def _name(label: Any) -> str:
    return _exact(label) if isinstance(label, float) else _clean(label)


def _short(value: float) -> str:
    """A number for an axis: 1200 is 1.2k."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def _exact(value: float) -> str:
    """A number for people: 1200 is 1,200."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def main() -> None:
    """A request as JSON on stdin, the PNG on stdout."""
    asked = json.load(sys.stdin)
    data = arranged(asked["columns"], asked["rows"], asked["kind"])
    sys.stdout.buffer.write(drawn(data, asked["title"], "png"))
