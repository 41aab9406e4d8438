"""Input schemas that the pickiest client takes, and that cost a model few tokens.

No $ref, no anyOf with null, no titles. Lengths and patterns are checked, not told: the error says what is wrong.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_LEFT_OUT = frozenset({"title", "$defs", "minLength", "maxLength", "minItems", "maxItems", "pattern"})


def input_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The flat JSON schema of a tool's arguments."""
    schema = model.model_json_schema(by_alias=True)
    flat: dict[str, Any] = _flat(schema, schema.get("$defs", {}))
    return flat


def _flat(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_flat(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _flat({**definitions[node["$ref"].rpartition("/")[2]], **_without(node, "$ref")}, definitions)
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        return _flat({**options[0], **_without(node, "anyOf")}, definitions)
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if key in _LEFT_OUT or (key == "default" and value is None):
            continue
        if key == "properties":
            flat[key] = {name: _flat(schema, definitions) for name, schema in value.items()}
        else:
            flat[key] = _flat(value, definitions)
    return flat


def _without(node: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name != key}
