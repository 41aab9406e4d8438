"""What a proxy remembers of its client, so that a new hub can take over where the last one ended."""

import json
import os
import re
from typing import Any, NamedTuple

from server.endpoint import MAX_LINE, encode

KEY_META = "one-mcp/key"
"""`_meta` key: unique for each request of a client, the same when it is sent again."""
RETRY_META = "one-mcp/retry"
"""`_meta` key: true on a request that an earlier hub may have carried out."""
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603
_SENDS = 10  # a request that hubs end upon this often is not sent again
_SUBSCRIPTION_META = "io.modelcontextprotocol/subscriptionId"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_LISTS = ("tools", "prompts", "resources")
_OWN = "one-mcp/replay-"
# How every hub begins an answer: its id is had without parsing the rest, which may be long.
_ANSWER = re.compile(rb'\{"jsonrpc":"2\.0","id":(-?\d+|"[^"\\]*"|null),"(result|error)":')


class _Request(NamedTuple):
    message: dict[str, Any]
    sends: int

    @property
    def method(self) -> str:
        return str(self.message["method"])


class Turn(NamedTuple):
    """What a line leads to: what goes to the hub, what to the client."""

    to_hub: bytes | None = None
    to_client: tuple[bytes, ...] = ()


class Session:
    """One client's session: its handshake, subscriptions and unanswered requests. Not thread-safe."""

    def __init__(self) -> None:
        self._prefix = os.urandom(9).hex()
        self._count = 0
        self._requests: dict[str, _Request] = {}
        self._initialize: dict[str, Any] | None = None
        self._initialized: bytes | None = None
        self._changing: tuple[str, ...] = ()
        self._log_level: dict[str, Any] | None = None
        self._subscribed: dict[str, dict[str, Any]] = {}
        self._listening: dict[str, dict[str, Any]] = {}
        self._own: dict[str, dict[str, Any]] = {}

    @property
    def waiting(self) -> bool:
        """Whether the client waits for something. An acknowledged subscription stays open without being waited for."""
        return not self._requests.keys() <= self._listening.keys()

    def from_client(self, line: bytes, *, connected: bool) -> Turn:
        """Take a line of the client. Without a hub `connected`, requests are kept for the next one."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            return Turn(to_client=(failure(None, PARSE_ERROR, f"Parse error: {error}"),))
        if not isinstance(message, dict):
            what = "a batch, which MCP does not have" if isinstance(message, list) else "no JSON object"
            return Turn(to_client=(failure(None, INVALID_REQUEST, f"Invalid request: it is {what}"),))
        if "method" in message and "id" in message:
            return self._request(message, connected=connected)
        if "method" in message:
            self._notification(message)
        elif "id" not in message or not ("result" in message or "error" in message):
            text = "Invalid request: it has neither a method nor a result"
            return Turn(to_client=(failure(_valid_id(message), INVALID_REQUEST, text),))
        return Turn(to_hub=encode(message))

    def _request(self, message: dict[str, Any], *, connected: bool) -> Turn:
        if _valid_id(message) is None or not isinstance(message["method"], str):
            text = "Invalid request: its id must be a string or a whole number, its method a string"
            return Turn(to_client=(failure(_valid_id(message), INVALID_REQUEST, text),))
        self._count += 1
        _stamp(message, KEY_META, f"{self._prefix}-{self._count}")
        line = encode(message)
        if len(line) > MAX_LINE:
            text = f"Invalid request: it has {len(line):,} bytes, {MAX_LINE:,} are allowed"
            return Turn(to_client=(failure(message["id"], INVALID_REQUEST, text),))
        self._requests[_key(message["id"])] = _Request(message, sends=int(connected))
        return Turn(to_hub=line)

    def _notification(self, message: dict[str, Any]) -> None:
        if message["method"] == "notifications/initialized":
            self._initialized = encode(message)
        elif message["method"] == "notifications/cancelled":
            params = message.get("params")
            if isinstance(params, dict):
                key = _key(params.get("requestId"))
                self._requests.pop(key, None)
                self._listening.pop(key, None)

    def from_hub(self, line: bytes) -> tuple[bytes, ...]:
        """Take a line of the hub; what of it the client gets to see. Raises ValueError when it is no message."""
        answer = _ANSWER.match(line)
        if answer is not None:
            return self._answer(_key(json.loads(answer[1])), line, failed=answer[2] == b"error")
        message = json.loads(line)
        if "method" not in message:
            return self._answer(_key(message.get("id")), line, failed="error" in message)
        return self._acknowledged(message, line) if message["method"] == _ACKNOWLEDGED else (line,)

    def _answer(self, key: str, line: bytes, *, failed: bool) -> tuple[bytes, ...]:
        own = self._own.pop(key, None)
        if own is not None:
            return () if failed or self._initialized is None else self._missed(own)
        request = self._requests.pop(key, None)
        self._listening.pop(key, None)
        if request is not None and not failed:
            self._learn(request, line)
        return (line,)

    def _learn(self, request: _Request, answer: bytes) -> None:
        """Keep what a hub has to be told again, once one has agreed to it."""
        params = request.message.get("params")
        uri = str(params.get("uri")) if isinstance(params, dict) else ""
        if request.method == "initialize":
            self._initialize = request.message
            capabilities = json.loads(answer)["result"].get("capabilities") or {}
            self._changing = tuple(kind for kind in _LISTS if (capabilities.get(kind) or {}).get("listChanged"))
        elif request.method == "logging/setLevel":
            self._log_level = request.message
        elif request.method == "resources/subscribe":
            self._subscribed[uri] = request.message
        elif request.method == "resources/unsubscribe":
            self._subscribed.pop(uri, None)

    def _missed(self, repeated: dict[str, Any]) -> tuple[bytes, ...]:
        """What may have changed unheard between two hubs, where a client of the handshake era was promised to hear."""
        if repeated["method"] == "resources/subscribe":
            return (_notify("resources/updated", uri=repeated["params"]["uri"]),)
        if repeated["method"] == "initialize":
            return tuple(_notify(f"{kind}/list_changed") for kind in self._changing)
        return ()

    def _acknowledged(self, message: dict[str, Any], line: bytes) -> tuple[bytes, ...]:
        """A subscription is open. The client hears that once; the next time, what it may have missed."""
        params = message.get("params") or {}
        key = _key((params.get("_meta") or {}).get(_SUBSCRIPTION_META))
        known = key in self._listening
        if key in self._requests:
            self._listening[key] = params
        return _missed_of_listen(params) if known else (line,)

    def resume(self) -> list[bytes]:
        """The lines that bring a new hub to where the last one was."""
        self._own.clear()
        lines = [self._repeat(self._initialize)] if self._initialize is not None else []
        if self._initialize is not None and self._initialized is not None:
            lines.append(self._initialized)
        if self._log_level is not None:
            lines.append(self._repeat(self._log_level))
        lines += [self._repeat(message) for message in self._subscribed.values()]
        for key, request in self._requests.items():
            if request.sends:
                _stamp(request.message, RETRY_META, True)
            self._requests[key] = request._replace(sends=request.sends + 1)
            lines.append(encode(request.message))
        return lines

    def _repeat(self, message: dict[str, Any]) -> bytes:
        self._count += 1
        own = f"{_OWN}{self._count}"
        self._own[_key(own)] = message
        return encode({**message, "id": own})

    def exhausted(self) -> list[bytes]:
        """Answers to the requests that were sent too often, which are given up."""
        text = f"The hub ended {_SENDS} times while it worked on this request"
        return self._give_up([key for key, request in self._requests.items() if request.sends >= _SENDS], text)

    def give_up(self, reason: str) -> list[bytes]:
        """Error answers, with a reason for people to read, to all that is unanswered."""
        return self._give_up(list(self._requests), reason)

    def _give_up(self, keys: list[str], reason: str) -> list[bytes]:
        for key in keys:
            self._listening.pop(key, None)
        given_up = [self._requests.pop(key) for key in keys]
        return [failure(request.message["id"], INTERNAL_ERROR, f"one-mcp: {reason}") for request in given_up]


def failure(request_id: str | int | None, code: int, message: str) -> bytes:
    """A JSON-RPC error answer."""
    return encode({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}})


def _valid_id(message: dict[str, Any]) -> str | int | None:
    value = message.get("id")
    return value if isinstance(value, str) or type(value) is int else None


def _key(request_id: object) -> str:
    """What an id is found by: 1 and "1" are two ids."""
    return json.dumps(request_id)


def _stamp(message: dict[str, Any], key: str, value: object) -> None:
    """Set a key in `params._meta`. What has a wrong shape is left for the hub to refuse."""
    place = message
    for part in ("params", "_meta"):
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            return
    place[key] = value


def _notify(method: str, **params: Any) -> bytes:
    return encode({"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params})


def _missed_of_listen(params: dict[str, Any]) -> tuple[bytes, ...]:
    """What an open `subscriptions/listen` may have missed; its acknowledgement says what it gets."""
    wanted = params.get("notifications") or {}
    meta = params.get("_meta")
    kinds = [kind for kind in _LISTS if wanted.get(f"{kind}ListChanged")]
    changed = [_notify(f"{kind}/list_changed", _meta=meta) for kind in kinds]
    updated = [_notify("resources/updated", uri=uri, _meta=meta) for uri in wanted.get("resourceSubscriptions") or ()]
    return (*changed, *updated)
