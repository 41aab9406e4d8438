"""What whoever operates a hub sees: readiness, metrics, traces and the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_trace_id
from prometheus_client.parser import text_string_to_metric_families

from server import logs
from server.config import LogSettings, TelemetrySettings
from server.metrics import SIZES, Histogram
from server.tracing import Tracing
from storage import engine
from tests.clients import Swarm
from tests.remote import bearer, client, raw_post, served

if TYPE_CHECKING:
    from mcp_types import RequestParamsMeta

SECRET = "the launch is on Tuesday"


async def loaded(swarm: Swarm) -> None:
    with anyio.fail_after(10):
        while swarm.service.unready() is not None:
            await anyio.sleep(0.01)


async def test_not_ready_before_what_reads_need_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOAD_AFTER_SECONDS", 3_600)
    async with Swarm(tmp_path / "data") as swarm, served(swarm) as (url, _), httpx2.AsyncClient() as http:
        answer = await http.get(url.replace("/mcp", "/readyz"))
        assert answer.status_code == 503
        assert "starting" in answer.json()["reason"]


async def test_ready_is_who_did_not_fail(swarm: Swarm) -> None:
    async with served(swarm) as (url, _), httpx2.AsyncClient(base_url=url.removesuffix("/mcp")) as http:
        await loaded(swarm)
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        swarm.service.engine.writer.fail(OSError("the disk is gone"))
        answer = await http.get("/readyz")
        assert answer.status_code == 503
        assert "the disk is gone" in answer.json()["reason"]
        assert (await http.get("/healthz")).status_code == 200


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_metrics_count_what_happens(swarm: Swarm) -> None:
    async with served(swarm) as (url, token):
        assert token is not None
        async with client(url, "auto", bearer(token)) as remote:
            plan = await remote("create_conversation", title="Plan")
            for _ in range(3):
                await remote("send_message", conversationId=plan["_id"], content=SECRET)
            await remote.refused("get", id="conv_99")
        async with httpx2.AsyncClient(headers=bearer(token)) as http:
            assert (await raw_post(http, url, "tools/call", {"name": "nothing"})).status_code == 400
            assert (await raw_post(http, url, "made/up")).status_code == 404
            text = (await http.get(url.replace("/mcp", "/metrics"))).text
    found = samples(text)
    assert found["one_tool_calls_total", "ok", "send_message"] == 3
    assert found["one_tool_calls_total", "not_found", "get"] == 1
    assert found["one_tool_calls_total", "unknown", "other"] == 1
    assert found["one_requests_total", "other", "error"] == 1
    assert found["one_tool_seconds_count", "send_message"] == 3
    assert found["one_queue_seconds_count",] == found["one_durable_seconds_count",] == 4
    assert found["one_commit_requests_count",] == found["one_commit_seconds_count",] > 4
    assert found["one_http_responses_total", "200"] > 4
    assert found["one_cache_reads_total", "rows", "yes"] > 0
    for name in ("process_resident_memory_bytes", "one_uptime_seconds", "one_index_alarm", "one_ready"):
        assert (name,) in found
    assert SECRET not in text
    assert "made/up" not in text


def test_a_histogram_counts_a_bound_as_below_it() -> None:
    histogram = Histogram(SIZES)
    for value in (0, 1, 2, 3, 512, 513):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1]
    assert histogram.total == 1031


@pytest.mark.parametrize(
    ("access", "strangers", "proxied", "readers", "admins"),
    [("admin", 401, 401, 403, 200), ("loopback", 200, 401, 200, 200), ("off", 404, 404, 404, 404)],
)
async def test_who_reads_the_metrics(
    tmp_path: Path, access: str, strangers: int, proxied: int, readers: int, admins: int
) -> None:
    async with Swarm(tmp_path / "data", metrics={"access": access}) as swarm, served(swarm) as (url, token):
        assert token is not None
        tokens = await swarm.service.tokens()
        reader, _ = await tokens.create(swarm.service.owner.id, ["read", "analyst"])
        where = url.replace("/mcp", "/metrics")
        async with httpx2.AsyncClient() as http:
            for headers, status in (
                ({}, strangers),
                (bearer("one_wrong"), strangers),
                ({"X-Forwarded-For": "127.0.0.1"}, proxied),
                (bearer(reader), readers),
                (bearer(token), admins),
            ):
                assert (await http.get(where, headers=headers)).status_code == status
            assert (await http.get(where, headers={"Host": "evil.example"})).status_code == 421


def settings(**values: Any) -> TelemetrySettings:
    return TelemetrySettings(endpoint="http://127.0.0.1:9/v1/traces", service_name="test", sample_ratio=1.0, **values)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_span_says_who_asked_and_where_the_time_went(swarm: Swarm) -> None:
    spans = InMemorySpanExporter()
    swarm.service.tracing = Tracing(settings(), SimpleSpanProcessor(spans))
    plan = await swarm.owner("create_conversation", title="Plan", idempotencyKey="secret-key")
    await swarm.owner("send_message", conversationId=plan["_id"], content=SECRET)
    await swarm.owner.refused("send_message", conversationId=plan["_id"], content=SECRET, as_="agent_9")
    await swarm.owner.unreadable(f"one://agents/{SECRET}")
    made, sent, refused, unread = (span for span in spans.get_finished_spans() if "list" not in span.name)
    assert [made.name, sent.name] == ["tools/call create_conversation", "tools/call send_message"]
    assert attributes(sent)["gen_ai.tool.name"] == "send_message"
    assert attributes(sent)["one.principal"] == swarm.service.owner.id
    assert attributes(sent)["one.outcome"] == "ok"
    assert attributes(sent)["one.commit_seconds"] > 0
    assert attributes(sent)["one.queue_seconds"] > 0
    assert attributes(refused)["error.type"] == "not_found"
    assert not refused.status.is_ok
    assert unread.name == "resources/read"
    everything = "".join(span.to_json() for span in spans.get_finished_spans())
    assert SECRET not in everything
    assert "secret-key" not in everything
    assert len(spans.get_finished_spans()) == len({span.context.span_id for span in spans.get_finished_spans()})


@pytest.mark.slow
async def test_a_span_says_how_long_the_index_took(swarm: Swarm) -> None:
    spans = InMemorySpanExporter()
    swarm.service.tracing = Tracing(settings(), SimpleSpanProcessor(spans))
    await swarm.owner("search", query=SECRET, mode="text")
    (span,) = (span for span in spans.get_finished_spans() if span.name == "tools/call search")
    assert attributes(span)["one.search_seconds"] > 0
    assert SECRET not in span.to_json()


@pytest.mark.parametrize("place", ["meta", "header"])
async def test_a_span_belongs_to_the_trace_of_the_caller(swarm: Swarm, place: str) -> None:
    spans = InMemorySpanExporter()
    swarm.service.tracing = Tracing(settings(), SimpleSpanProcessor(spans))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    headers = {"traceparent": parent}
    if place == "meta":
        await swarm.owner.client.call_tool("find", {"table": "tags"}, meta=cast("RequestParamsMeta", headers))
    else:
        async with served(swarm, no_auth=True) as (url, _), httpx2.AsyncClient(headers=headers) as http:
            params = {"name": "find", "arguments": {"table": "tags"}}
            await raw_post(http, url, "tools/call", params)
    (span,) = (span for span in spans.get_finished_spans() if span.name == "tools/call find")
    assert span.context is not None
    assert format_trace_id(span.context.trace_id) == trace


@pytest.fixture
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [one for one in root.handlers if isinstance(one, RotatingFileHandler)]:
        root.removeHandler(handler)
        handler.close()


@pytest.mark.usefixtures("root_logger")
def test_the_log_is_lines_of_json_in_files_that_follow_each_other(tmp_path: Path) -> None:
    logs.configure(LogSettings(format="json", file="logs/x.log", file_bytes=10_000, files=3), "info", tmp_path)
    log = logging.getLogger("one.test")
    for number in range(400):
        log.info('line %d of "many"', number)
    log.debug("not this one")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["x.log", "x.log.1", "x.log.2"]
    assert all(file.stat().st_size <= 10_000 for file in files)
    lines = [json.loads(line) for line in (tmp_path / "logs" / "x.log").read_text().splitlines()]
    assert lines[-1]["level"] == "error"
    assert lines[-1]["exception"].endswith("ValueError: broken")
    assert lines[-2]["message"] == 'line 399 of "many"'
    assert lines[-2]["time"].endswith("+00:00")


async def test_nothing_secret_is_logged(swarm: Swarm, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with served(swarm) as (url, token):
            assert token is not None
            async with client(url, "auto", bearer(token)) as remote:
                plan = await remote("create_conversation", title="Plan")
                await remote("send_message", conversationId=plan["_id"], content=SECRET)
                await remote.refused("send_message", conversationId=plan["_id"], text=SECRET)
                await remote("search", query=SECRET, mode="text")
            async with httpx2.AsyncClient() as http:
                await http.post(url, headers=bearer("one_guessed"), content=SECRET)
                await http.post(url, headers=bearer(token), content=SECRET)
    assert SECRET not in caplog.text
    assert token not in caplog.text
    assert "one_guessed" not in caplog.text
