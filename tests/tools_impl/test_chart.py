"""Charts: which one suits which columns, the image that a client gets, and who gets it."""

from __future__ import annotations

import io
from base64 import b64decode
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from mcp_types import ImageContent
from PIL import Image

from storage.plots import CARD, COLORS, INK, NotDrawable, arranged, described, drawn
from tests.clients import ERAS, Swarm

DAYS = "SELECT DATE '2026-03-01' + CAST(i AS INTEGER) AS day, i * i AS messages, i AS people FROM range({}) r(i)"
MOST_BYTES = 100_000
SVG = "{http://www.w3.org/2000/svg}"


def looked_at(image: ImageContent) -> Image.Image:
    assert image.mime_type == "image/png"
    data = b64decode(image.data)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) <= MOST_BYTES
    opened = Image.open(io.BytesIO(data))
    opened.load()
    return opened


async def test_an_image_comes_with_a_line_that_says_what_it_shows(swarm: Swarm) -> None:
    for era in ERAS:
        tools = await swarm.connect(admin=True, era=era)
        result = await tools.raw("chart", sql=DAYS.format(30), title="Days")
        text, image = result.content
        assert isinstance(image, ImageContent)
        assert looked_at(image).size == (880, 495)
        structured = result.structured_content
        assert structured is not None
        assert structured == {
            "kind": "line",
            "alt": "Line chart of messages, people by day (2026-03-01 to 2026-03-30), 0 to 841",
            "columns": ["day", "messages", "people"],
            "rows": 30,
            "truncated": False,
            "asOf": structured["asOf"],
        }
        assert getattr(text, "text", "").startswith(f"{structured['alt']}. 30 rows of day, messages, people, as of 20")


async def test_who_may_not_see_everything_gets_no_chart(swarm: Swarm) -> None:
    _, ben = await swarm.user("Ben")
    assert (await ben.refused("chart", sql="SELECT 'a' AS name, 1 AS n")).code == "forbidden"


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT 'a' AS name, 1 AS n WHERE false", "no rows"),
        ("SELECT 'a' AS name, 'b' AS other", "these are name VARCHAR, other VARCHAR"),
        ("SELECT nme FROM users", "'name' is a column of"),
        ("DELETE FROM users", ""),
    ],
)
async def test_what_cannot_be_drawn_says_what_would_do(swarm: Swarm, sql: str, reason: str) -> None:
    refusal = await swarm.owner.refused("chart", sql=sql)
    assert refusal.code == "invalid"
    assert reason in refusal.text


Columns = list[tuple[str, str]]
NAMES: Columns = [("name", "VARCHAR"), ("n", "BIGINT")]
TRIPLES: Columns = [("day", "DATE"), ("who", "VARCHAR"), ("n", "DOUBLE")]


@pytest.mark.parametrize(
    ("columns", "rows", "kind"),
    [
        ([("day", "DATE"), ("n", "BIGINT")], [["2026-03-01", 1], ["2026-03-02", 2]], "line"),
        ([("at", "TIMESTAMP"), ("n", "HUGEINT")], [["2026-03-01T10:00:00Z", 1], ["2026-03-01T11:00:00Z", 2]], "line"),
        ([("size", "INTEGER"), ("n", "DECIMAL(9,2)")], [[1, 1.5], [2, 2.5]], "line"),
        (NAMES, [["a", 1], ["b", None], [None, 3]], "bar"),
        ([("day", "DATE"), ("n", "BIGINT")], [["2026-03-01", 1]], "bar"),
        (TRIPLES, [["2026-03-01", "Ann", 1], ["2026-03-02", "Ben", 2]], "line"),
        (
            [("a", "VARCHAR"), ("b", "VARCHAR"), ("n", "BIGINT")],
            [[f"{i % 5}", f"{i}", i] for i in range(50)],
            "heatmap",
        ),
    ],
)
def test_the_types_choose_what_is_drawn(columns: Columns, rows: list[list[Any]], kind: str) -> None:
    data = arranged(columns, rows, None)
    assert data.kind == kind
    assert drawn(data, None, "png").startswith(b"\x89PNG")


def test_a_column_of_text_names_the_series() -> None:
    data = arranged(TRIPLES, [["2026-03-01", "Ann", 1], ["2026-03-01", "Ben", 2], ["2026-03-02", "Ben", 3]], None)
    assert data.series == [("Ann", [1.0, None]), ("Ben", [2.0, 3.0])]


def test_what_has_no_room_is_told() -> None:
    data = arranged(NAMES, [[f"name {i}", i] for i in range(100)], "bar")
    assert len(data.labels) == 40
    assert described(data).endswith("60 more labels are not shown")


@pytest.mark.parametrize("kind", ["line", "bar", "funnel", "heatmap"])
def test_every_kind_is_drawn_small_and_as_svg_with_text(kind: Any) -> None:
    hostile = ["$a$ <b>&\"'", "tab\there", "\u202eright", "会议", "x" * 500, "\\frac{1}{0}", ""]
    data = arranged(NAMES, [[name, place] for place, name in enumerate(hostile)], kind)
    assert len(drawn(data, "A $title$ <script>", "png")) <= MOST_BYTES
    root = ET.fromstring(drawn(data, "A $title$ <script>", "svg"))
    texts = {"".join(text.itertext()) for text in root.iter(f"{SVG}text")}
    assert "A $title$ <script>" in texts
    assert "$a$ <b>&\"'" in texts
    assert not list(root.iter(f"{SVG}script"))


def test_many_points_stay_small() -> None:
    rows = [[f"2026-{1 + i // 28 % 12:02d}-{1 + i % 28:02d}", f"who {i % 8}", i * 7919 % 101] for i in range(5_000)]
    assert len(drawn(arranged(TRIPLES, rows, None), "Many", "png")) <= MOST_BYTES


@pytest.mark.parametrize("kind", ["line", "bar", "funnel", "heatmap"])
def test_nothing_but_zeros_and_infinite_numbers_are_drawn(kind: Any) -> None:
    assert drawn(arranged(NAMES, [["a", 0], ["b", 0]], kind), None, "png")
    endless: list[list[Any]] = [["a", "NaN"], ["b", "Infinity"], ["c", 1]]
    assert drawn(arranged([("a", "VARCHAR"), ("n", "DOUBLE")], endless, kind), None, "png")


def test_times_without_a_date_are_refused_in_words() -> None:
    with pytest.raises(NotDrawable, match="infinity"):
        arranged([("day", "DATE"), ("n", "BIGINT")], [["infinity", 1]], None)


def luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("background", [CARD, "#1d1f23"])
@pytest.mark.parametrize("color", COLORS)
def test_colors_are_seen_on_light_and_dark(color: str, background: str) -> None:
    assert contrast(color, background) >= 3
    assert contrast(INK, CARD) >= 7
