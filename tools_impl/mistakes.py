"""Mistakes in arguments, said so that a model can mend them: what was wrong, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

MENTIONED = 5
LIKE_CHARS = 3
PART_CHARS = 4
"""Shorter words are like too many others, shorter parts of a word are in too many."""


def closest(word: str, among: Iterable[str]) -> str | None:
    """The word that was probably meant."""
    words = list(among)
    camel = to_camel(word)
    if camel in words:
        return camel
    containing = [one for one in words if word.lower() in one.lower()] if len(word) >= PART_CHARS else []
    if len(containing) == 1:
        return containing[0]
    found = difflib.get_close_matches(word, words, n=1, cutoff=0.6) if len(word) >= LIKE_CHARS else []
    return found[0] if found else None


def argument_errors(error: ValidationError, known: Sequence[str]) -> str:
    """What is wrong with the arguments of a call whose names are `known`."""
    return _listed(error, "argument", known)


def field_errors(error: ValidationError) -> str:
    """What is wrong with the fields of a row."""
    return _listed(error, "field", ())


def _listed(error: ValidationError, noun: str, known: Sequence[str]) -> str:
    details = error.errors(include_url=False, include_context=True)
    # An argument that was given under another name is not missing as well.
    meant = {closest(str(d["loc"][0]), known) for d in details if d["type"] == "extra_forbidden"}
    texts = [_sentence(d, noun, known) for d in details if not (d["type"] == "missing" and d["loc"][0] in meant)]
    unique = list(dict.fromkeys(texts))
    return " ".join(unique[:MENTIONED])


def _sentence(detail: Any, noun: str, known: Sequence[str]) -> str:
    path, kind, context, value = detail["loc"], detail["type"], detail.get("ctx", {}), detail.get("input")
    # Fields come by their Python names.
    parts = [to_camel(str(part)) if noun == "field" and not place else str(part) for place, part in enumerate(path)]
    name = ".".join(parts)
    if kind == "extra_forbidden":
        meant = closest(name, known)
        hint = f": did you mean '{meant}'?" if meant else f". Known: {', '.join(known)}."
        return f"Unknown {noun} '{name}'{hint}"
    if kind == "missing":
        return f"Missing {noun} '{name}'."
    if kind == "literal_error":
        return f"'{name}' must be {context['expected']}, not {_short(value)}."
    if kind == "string_too_long":
        return f"'{name}' has {len(value):,} characters; at most {context['max_length']:,} are possible."
    if kind == "string_too_short":
        return f"'{name}' must not be empty."
    if kind == "too_long":
        return f"'{name}' has {context['actual_length']} items; at most {context['max_length']} are possible."
    if kind == "too_short":
        return f"'{name}' must not be empty."
    if kind == "string_pattern_mismatch":  # only emails have one
        return f"'{name}' must be an address like ana@example.org, not {_short(value)}."
    if kind in _LIMITS:
        word, key = _LIMITS[kind]
        return f"'{name}' must be {word} {context[key]:.15g}, not {_short(value)}."
    if kind == "value_error":
        return f"{context['error']}." if not path else f"'{name}': {context['error']}."
    wanted = _KINDS.get(kind.removesuffix("_type").removesuffix("_parsing"))
    return f"'{name}' must be {wanted or 'something else'}, not {_short(value)}."


_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("more than", "gt"),
    "less_than": ("less than", "lt"),
}
_KINDS = {
    "string": "a text",
    "string_unicode": "a text in Unicode",
    "int": "a whole number",
    "int_from_float": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "an object",
}


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else type(value).__name__ if value is not None else "null"
    if isinstance(value, bool | int | float):
        text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
