"""Prompt templates: which values they take, and the text with the values in it."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic_core import to_json

from storage.errors import Invalid
from storage.fields import JsonObject
from storage.row import Result
from storage.tables import Prompt
from storage.view import View
from tools_impl.access import required
from tools_impl.arguments import RowId
from tools_impl.builtin_prompts import BUILT_IN
from tools_impl.caller import Caller


class _Template(string.Template):
    """`{{name}}`, and no logic. Names are what people write: words with spaces, in any script."""

    flags = re.VERBOSE  # not the default IGNORECASE: names differ by case
    pattern = r"""
        \{\{ \s* (?P<named> [^\s{}] (?: [^{}\r\n]{0,198} [^\s{}] )? ) \s* \}\}
        | (?P<escaped> (?!) ) | (?P<braced> (?!) ) | (?P<invalid> (?!) )
    """  # type: ignore[assignment] # the base class compiles it


def required_names(prompt: Prompt) -> list[str]:
    """The values without which a prompt cannot be rendered."""
    return list(dict.fromkeys(prompt.required_context or ()))


def optional_names(prompt: Prompt) -> list[str]:
    """The other placeholders of its template, in their order."""
    needed = set(prompt.required_context or ())
    return [name for name in _Template(prompt.template).get_identifiers() if name not in needed]


def render(prompt: Prompt, values: Mapping[str, str]) -> str:
    """The text of a prompt. A value is inserted as it is; an optional placeholder without one stays.

    Raises:
        Invalid: a required value is missing or empty, or there is one that the prompt does not take.
    """
    needed, template = required_names(prompt), _Template(prompt.template)
    placed = template.get_identifiers()
    check_values(f"'{prompt.id}' ({prompt.title})", needed, [*needed, *optional_names(prompt)], values)
    parts = [template.safe_substitute(values)]
    # What a template asks for without having a place for it follows it.
    parts += [f"{name}:\n{values[name]}" for name in needed if name not in placed]
    if prompt.output_type:
        parts.append(f"Answer in this form: {prompt.output_type}")
    return "\n\n".join(parts)


def check_values(what: str, needed: list[str], taken: list[str], values: Mapping[str, str]) -> None:
    """Check the values for a prompt.

    Raises:
        Invalid: a needed one is missing or empty, or one is not taken.
    """
    missing = [name for name in needed if not values.get(name)]
    if missing:
        raise Invalid(f"Prompt {what} needs values for: {', '.join(missing)}.")
    unknown = [name for name in values if name not in taken]
    if unknown:
        takes = f"It takes: {', '.join(taken)}." if taken else "It takes none."
        raise Invalid(f"Prompt {what} has no place for: {', '.join(unknown)}. {takes}")


class Rendered(Result):
    """A prompt with its values."""

    table: ClassVar[str] = "rendered"

    id: str = Field(alias="_id")
    title: str
    content: str


async def render_prompt(
    view: View,
    me: Caller,
    prompt_id: Annotated[RowId, Field(description=f"or one of {', '.join(BUILT_IN)}")],
    values: Annotated[JsonObject | None, Field(description="by placeholder name")] = None,
) -> Rendered:
    """Fill in a prompt's template: what to do next, as text.

    Raises:
        NotFound: no such prompt.
        Invalid: a required value is missing, or one is unknown.
    """
    texts = {
        name: value if isinstance(value, str) else to_json(value).decode() for name, value in (values or {}).items()
    }
    built_in = BUILT_IN.get(prompt_id)
    if built_in is not None:
        check_values(f"'{prompt_id}'", built_in.needed, list(built_in.arguments), texts)
        return Rendered(_id=prompt_id, title=built_in.title, content=await built_in.write(view, me, texts))
    prompt = await required(view, me, Prompt, prompt_id)
    return Rendered(_id=prompt.id, title=prompt.title, content=render(prompt, texts))
