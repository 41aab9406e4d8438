"""Traces of requests with OpenTelemetry. Imported only when `telemetry.endpoint` is set.

A span tells who asked for which tool and where its time went, never what was said: no arguments, no results, no texts
of errors. The SDK of MCP has a middleware for spans, too, which puts error texts into them: its tracer stays without a
provider, and ours is not the global one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server import __version__
from server.metrics import method_label
from storage.spent import Spent

if TYPE_CHECKING:
    from server.config import TelemetrySettings
    from server.session import Session

EXPORT_SECONDS = 5.0
"""What the export of one batch may take, and the last one when the hub ends."""
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans of requests. `processor` takes them; without one they go to the endpoint of the settings."""

    def __init__(self, settings: TelemetrySettings, processor: SpanProcessor | None = None) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": settings.service_name, "service.version": __version__}),
            sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
            shutdown_on_exit=False,
        )
        exporter = partial(OTLPSpanExporter, endpoint=settings.endpoint, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(processor if processor is not None else BatchSpanProcessor(exporter()))
        self._tracer = self._provider.get_tracer("one-mcp", __version__)

    async def traced(
        self,
        ctx: ServerRequestContext[Session, Any],
        session: Session,
        tool: str | None,
        answer: Callable[[], Awaitable[HandlerResult]],
    ) -> HandlerResult:
        """The answer to a request, with a span around it. `tool` is one of ours, if it is a call of one."""
        with self._span(ctx, session, tool) as span:
            try:
                return await answer()
            except MCPError as error:
                _failed(span, str(error.error.code))
                raise
            except Exception as error:
                _failed(span, type(error).__qualname__)
                raise

    @contextmanager
    def _span(self, ctx: ServerRequestContext[Session, Any], session: Session, tool: str | None) -> Iterator[Span]:
        method = method_label(ctx.method)
        attributes: dict[str, Any] = {
            "mcp.method.name": method,
            "mcp.protocol.version": ctx.protocol_version,
            "one.principal": session.member_id,
            "one.origin": session.origin,
        }
        if session.grant_id is not None:
            attributes["one.grant"] = session.grant_id
        if tool is not None:
            attributes |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
        headers = ctx.request.headers if ctx.request is not None else {}
        with self._tracer.start_as_current_span(
            f"{method} {tool}" if tool is not None else method,
            context=_PROPAGATOR.extract(_carrier(ctx.meta or {}, headers)),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def called(self, outcome: str, spent: Spent) -> None:
        """Say in the span of the request under way how a call of a tool went. `outcome` is "ok" or an error's code."""
        span = get_current_span()
        span.set_attributes(
            {
                "one.outcome": outcome,
                "one.queue_seconds": spent.queue,
                "one.commit_seconds": spent.commit,
                "one.search_seconds": spent.search,
            }
        )
        if outcome != "ok":
            _failed(span, outcome)

    async def close(self) -> None:
        """Send what is left, if that can be done soon."""
        with anyio.move_on_after(EXPORT_SECONDS):
            await anyio.to_thread.run_sync(self._provider.shutdown, abandon_on_cancel=True)


def _carrier(meta: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, str]:
    """Where the caller's own trace is told: in the request's `_meta`, or in the headers of HTTP."""
    source = meta if "traceparent" in meta else headers
    return {name: source[name] for name in ("traceparent", "tracestate") if isinstance(source.get(name), str)}


def _failed(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
