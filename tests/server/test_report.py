"""`one-mcp report` and `one-mcp chart` on real processes."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from storage.analytics.report import PARTS
from storage.analytics_views import BY_NAME
from tests.processes import call, client, run

pytestmark = pytest.mark.slow

HOSTILE = "</style><script>alert('x')</script>{{ 7 * 7 }}<img src=https://evil.example/x onerror=alert(1)>"


class Page(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def test_every_view_has_its_part() -> None:
    assert {part.view for part in PARTS} == set(BY_NAME)


async def test_a_report_is_one_page_that_loads_and_runs_nothing(data: Path, tmp_path: Path) -> None:
    async with client(data) as mcp:
        agent = (await call(mcp, "create_agent", name=HOSTILE, description="d", kind="user_agent"))["_id"]
        room = (await call(mcp, "create_conversation", title=HOSTILE, participants=[agent], tags=[HOSTILE]))["_id"]
        await call(mcp, "send_message", conversationId=room, content="Hello", step="Hook")
        await call(mcp, "send_message", **{"conversationId": room, "content": HOSTILE, "as": agent})
        page_file = tmp_path / "page.html"
        done = run(data, "report", "--output", str(page_file), "--title", HOSTILE, "--fresh")
    assert done.returncode == 0, done.stderr
    text = page_file.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.tags & {"script", "link", "iframe", "img", "object", "embed", "base", "form"}
    assert "svg" in page.tags
    assert "49" not in re.findall(r"<h1>.*?</h1>", text)[0]
    assert [(name, value) for name, value in page.attributes if name.startswith("on") or name == "style"] == []
    addresses = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "action")]
    assert [address for address in addresses if not address.startswith(("#", "data:image/png;base64,"))] == []
    spoken = ("aria-label",)
    assert [value for name, value in page.attributes if name not in spoken and "://" in value] == []
    (css,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    (policy,) = [value for name, value in page.attributes if name == "content" and "default-src" in value]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "prefers-color-scheme: dark" in css
    assert "://" not in css
    assert all(f'id="{view}"' in text for view in BY_NAME)


async def test_a_chart_is_written_as_an_image(data: Path, tmp_path: Path) -> None:
    sql = 'SELECT step, reached FROM "stepFunnel" ORDER BY position'
    svg, png = tmp_path / "x.svg", tmp_path / "x.png"
    for target in (svg, png):
        done = run(data, "chart", sql, "--kind", "funnel", "--title", "Steps", "--output", str(target))
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("Funnel chart of reached by step (Foundation to Share)")
    assert ET.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    done = run(data, "chart", sql, "--output", str(tmp_path / "x.pdf"))
    assert done.returncode == 1
    assert "ends in .png or .svg" in done.stderr
    done = run(data, "chart", "SELECT 1 AS one", "--output", str(png))
    assert done.returncode == 1
    assert "A chart needs a column of labels" in done.stderr
