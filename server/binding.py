"""Operations as MCP tools: schemas from signatures, arguments to parameters, results and errors to the wire.

The only place where errors become messages.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, create_model
from pydantic.alias_generators import to_camel

from server.answers import Failure
from server.audit_log import UNCHANGED
from server.metrics import OK
from server.replay import KEY_META, RETRY_META
from server.schemas import input_schema
from server.session import Session, acting_as, caller_of
from storage.errors import DomainError, Forbidden, Invalid, NotFound
from storage.receipts import Key
from storage.row import Result
from storage.spent import SPENT, Spent
from storage.transaction import Transaction
from tools_impl import ANALYSTS, OPERATIONS, Operation
from tools_impl.arguments import RowId
from tools_impl.caller import Caller
from tools_impl.mistakes import argument_errors, field_errors
from tools_impl.suggest import advice

if TYPE_CHECKING:
    from server.service import Service

PROXY_KEY_MS = 24 * 3600 * 1000
KEY_CHARS = 200
ACK_CHARS = 100_000
"""An inbox of 200 conversations whose ids are 200 letters long has one of 70,000."""

log = logging.getLogger(__name__)

_As = Annotated[RowId | None, Field(description="agent to act as")]
_IdempotencyKey = Annotated[
    str | None,
    StringConstraints(min_length=1, max_length=KEY_CHARS),
]
_Ack = Annotated[
    str | None,
    StringConstraints(min_length=1, max_length=ACK_CHARS),
    Field(description="of the last result: marks what it showed as read"),
]


@dataclass(frozen=True)
class Bound:
    """An operation with what MCP needs of it. Schemas are made when they are first asked for: a start needs few."""

    operation: Operation
    writes: bool
    arguments: type[BaseModel]
    names: tuple[str, ...]
    optional: frozenset[str]

    @cached_property
    def tool(self) -> types.Tool:
        """As clients are told of it."""
        return _tool(self.operation, self.writes, self.arguments)


def bind(operation: Operation) -> Bound:
    """Read the signature of an operation."""
    hints = get_type_hints(operation.function, include_extras=True)
    parameters = list(inspect.signature(operation.function).parameters.values())
    writes = hints[parameters[0].name] is Transaction
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in parameters[2:]
    }
    if operation.acts:
        fields["as_"] = (_As, Field(None, alias="as"))
    if writes:
        fields["idempotency_key"] = (_IdempotencyKey, None)
    if operation.acknowledges is not None:
        fields["ack"] = (_Ack, None)
    model = create_model(
        operation.name,
        __config__=ConfigDict(extra="forbid", alias_generator=to_camel, validate_default=False, defer_build=True),
        **fields,
    )
    names = tuple(field.alias or name for name, field in model.model_fields.items())
    optional = frozenset(field.alias or name for name, field in model.model_fields.items() if not field.is_required())
    return Bound(operation, writes, model, names, optional)


def _tool(operation: Operation, writes: bool, model: type[BaseModel]) -> types.Tool:
    words = inspect.getdoc(operation.function) or ""
    changes = writes or operation.acknowledges is not None
    return types.Tool(
        name=operation.name,
        title=operation.title,
        description=words.partition("\nRaises:")[0].strip(),
        input_schema=input_schema(model),
        annotations=types.ToolAnnotations(
            # What the protocol takes for granted is left out: every byte is read by a model.
            read_only_hint=None if changes else True,
            destructive_hint=operation.destructive if changes else None,
            idempotent_hint=(operation.idempotent or None) if changes else None,
            open_world_hint=False,
        ),
    )


BOUND: dict[str, Bound] = {operation.name: bind(operation) for operation in OPERATIONS}


def offered(session: Session) -> list[Bound]:
    """The tools of a connection, by its toolsets, and whether it may write and see everything."""
    return [
        bound
        for bound in BOUND.values()
        if (session.toolsets is None or bound.operation.toolset in session.toolsets)
        and (session.may_write or not bound.writes)
        and (session.may_analyse or bound.operation.toolset != ANALYSTS)
    ]


async def call(
    service: Service, session: Session, bound: Bound, arguments: Mapping[str, Any], meta: Mapping[str, Any] | None
) -> Result:
    """Carry out one tool call and return its result; errors are results, too."""
    spent, began, outcome = Spent(), time.perf_counter(), "internal"
    token = SPENT.set(spent)
    try:
        result = await _result(service, session, bound, arguments, meta)
        outcome = result.code if isinstance(result, Failure) else OK
    finally:
        SPENT.reset(token)
        service.metrics.called(bound.operation.name, outcome, time.perf_counter() - began, spent)
        if service.tracing is not None:
            service.tracing.called(outcome, spent)
    if bound.writes and not spent.stored:
        service.audit.not_written(bound.operation.name, session, UNCHANGED if outcome == OK else outcome)
    return result


async def _result(
    service: Service, session: Session, bound: Bound, arguments: Mapping[str, Any], meta: Mapping[str, Any] | None
) -> Result:
    view = service.engine.view()
    caller = None
    try:
        if bound.writes and not session.may_write:
            raise Forbidden(f"This connection is read-only; {bound.operation.name} changes something.")
        given = _validated(bound, arguments, view.store.zone)
        caller = await caller_of(view, session)
        acts_as = given.pop("as_", None)
        if acts_as is not None:
            caller = await acting_as(view, caller, acts_as)
        if not bound.writes:
            await _acknowledge(service, session, bound, caller, given)
            return await bound.operation.function(view, caller, **given)
        key = _key(service, bound, caller.id, given.pop("idempotency_key"), arguments, meta)
        request = partial(_write, bound, caller, given)
        act = service.audit.act(bound.operation.name, session, caller)
        result: Result = await service.engine.writer.run(request, key, act)
        return result if bound.operation.after is None else await bound.operation.after(view, caller, result)
    except NotFound as error:
        message = error.message if caller is None else await advice(view, caller, error)
        return Failure.of(error, message)
    except DomainError as error:
        return Failure.of(error)
    except ValidationError as error:  # the row refused what the argument's type let pass
        return Failure.of(Invalid(field_errors(error)))
    except Exception as error:
        log.exception("%s failed", bound.operation.name)
        text = f"{bound.operation.name} failed for a reason of the server's own; hub.log has it."
        raise MCPError(code=types.INTERNAL_ERROR, message=text) from error


async def _acknowledge(service: Service, session: Session, bound: Bound, caller: Caller, given: dict[str, Any]) -> None:
    """Mark what the caller says that they have seen, before they are shown more."""
    mark, ack = bound.operation.acknowledges, given.pop("ack", None)
    if mark is None or ack is None:
        return
    if not session.may_write:
        raise Forbidden(f"This connection is read-only; call {bound.operation.name} without 'ack'.")
    act = service.audit.act(bound.operation.name, session, caller)
    await service.engine.writer.run(lambda tx: mark(tx, caller, ack), act=act)


async def _write(bound: Bound, caller: Any, given: dict[str, Any], tx: Transaction) -> Result:
    return await bound.operation.function(tx, caller, **given)


def _validated(bound: Bound, arguments: Mapping[str, Any], zone: tzinfo | None) -> dict[str, Any]:
    # Many clients say null for what they leave out.
    given = {name: value for name, value in arguments.items() if value is not None or name not in bound.optional}
    try:
        return dict(bound.arguments.model_validate(given, context={"zone": zone}).__dict__)
    except ValidationError as error:
        raise Invalid(argument_errors(error, bound.names)) from None


def _key(
    service: Service,
    bound: Bound,
    caller_id: str,
    explicit: str | None,
    arguments: Mapping[str, Any],
    meta: Mapping[str, Any] | None,
) -> Key | None:
    """The idempotency key of a call: the caller's own, or the proxy's."""
    stamped = (meta or {}).get(KEY_META)
    if explicit is None and not (isinstance(stamped, str) and len(stamped) <= KEY_CHARS):
        return None
    text = json.dumps([bound.operation.name, arguments], sort_keys=True, default=str)
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    if explicit is not None:
        return Key(caller_id, explicit, digest, service.receipt_ms)
    return Key(f"proxy/{caller_id}", str(stamped), digest, PROXY_KEY_MS, fresh=not (meta or {}).get(RETRY_META))
