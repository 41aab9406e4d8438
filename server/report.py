"""`one-mcp report`: one HTML file with charts and tables of the views, which loads nothing else."""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.sql_command import questions
from storage.analytics.report import PARTS, Part
from storage.fields import iso

if TYPE_CHECKING:
    from storage.sql import Answer

TEMPLATE = Path(__file__).with_name("report.html.jinja")
CHART_ROWS, TABLE_ROWS = 1_000, 20
_DARK = {"#fbfbfa": "card", "#24262b": "ink", "#6a6e76": "faint", "#e2e3e1": "grid"}
"""The colors of `storage.plots` that are others in the dark, and their names in the template."""


@dataclass(slots=True)
class Styles:
    """The inline styles of charts as classes, so that the page needs no permission for inline styles."""

    classes: dict[str, str] = field(default_factory=dict)

    def named(self, style: str) -> str:
        """The class for a style."""
        return self.classes.setdefault(style, f"s{len(self.classes)}")

    def rules(self) -> str:
        """All of them as CSS; colors that depend on light and dark are variables."""
        lines = []
        for style, name in self.classes.items():
            adapted = re.sub("|".join(_DARK), lambda color: f"var(--{_DARK[color[0]]})", style)
            lines.append(f".{name} {{ {adapted} }}")
        return "\n".join(lines)


def run(arguments: argparse.Namespace) -> int:
    """Write the page; the process's exit status.

    Raises:
        Failure: there is no snapshot, or it cannot be read.
    """
    from storage.plots import cache_environment

    with questions(arguments.data, fresh=arguments.fresh) as ask:
        answers = [
            (part, ask(part.chart, CHART_ROWS) if part.chart else None, ask(part.table, TABLE_ROWS)) for part in PARTS
        ]
    os.environ.update(cache_environment(arguments.data))
    arguments.output.write_text(page(arguments.title, answers), encoding="utf-8")
    sys.stderr.write(f"{arguments.output}: {len(PARTS)} views, as of {iso(answers[0][2].as_of)}\n")
    return 0


def page(title: str, answers: list[tuple[Part, Answer | None, Answer]]) -> str:
    """The page as HTML. Everything that somebody wrote is escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from storage.analytics_views import BY_NAME

    styles = Styles()
    sections = []
    for part, drawn, answer in answers:
        chart, words = _chart(part, drawn, styles)
        sections.append({
            "title": part.title, "view": part.view, "comment": BY_NAME[part.view].comment, "alt": words,
            "chart": Markup(chart), "columns": [name for name, _ in answer.columns],  # noqa: S704  made by us
            "rows": [[_cell(value) for value in row] for row in answer.rows], "more": answer.truncated,
        })  # fmt: skip
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    head, _, body = TEMPLATE.read_text(encoding="utf-8").partition("/* charts */")
    source = environment.from_string(head + styles.rules() + body)
    css = re.search(r"<style>(.*?)</style>", head + styles.rules() + body, re.DOTALL)
    assert css is not None
    digest = base64.b64encode(hashlib.sha256(css[1].encode()).digest()).decode()
    return source.render(title=title, as_of=iso(answers[0][2].as_of), sections=sections, digest=digest)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _chart(part: Part, answer: Answer | None, styles: Styles) -> tuple[str, str]:
    """An SVG for HTML, without inline styles and addresses, and what it shows; both empty without rows."""
    from storage.plots import arranged, described, drawn

    if answer is None or not answer.rows:
        return "", ""
    data = arranged(answer.columns, answer.rows, part.kind)
    svg = drawn(data, None, "svg", salt=part.view).decode()
    svg = svg[svg.index("<svg") :]
    # Outside of text: what somebody wrote is in text, in which `<` and `"` of attributes cannot stand.
    svg = re.sub(r"<[a-zA-Z][^<>]*>", lambda tag: _unstyled(tag[0], styles), svg)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    return svg, described(data)


def _unstyled(tag: str, styles: Styles) -> str:
    tag = re.sub(r' style="([^"]*)"', lambda found: f' class="{styles.named(found[1])}"', tag)
    tag = re.sub(r' xmlns(:\w+)?="[^"]*"', "", tag)
    return re.sub(r' (width|height)="[\d.]+pt"', "", tag) if tag.startswith("<svg") else tag
