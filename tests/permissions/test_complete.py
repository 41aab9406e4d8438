"""That the matrix has cells for everything there is: a new tool, table, resource, prompt or scope asks for its own."""

from __future__ import annotations

import re

from server.binding import BOUND
from server.resources import FIXED, TEMPLATES
from server.session import ALL_SCOPES
from storage.tables import BY_NAME
from tests.clients import USER_SCOPES
from tests.permissions.calls import LISTS, NOTICES, SECTIONS
from tests.permissions.table import OUTCOMES, ROLES, rows
from tests.permissions.world import SCOPES, STRANGERS
from tools_impl.builtin_prompts import BUILT_IN

DECLARED = [(section, name) for section, name, _ in rows()]


def named(section: str) -> list[str]:
    return [name for declared, name in DECLARED if declared == section]


def test_every_row_is_asked_and_every_question_has_a_row() -> None:
    asked = [(section, name) for section, calls in SECTIONS.items() for name in calls]
    assert [*asked, *(("Notifications", name) for name in NOTICES)] == DECLARED
    assert len(set(DECLARED)) == len(DECLARED)


def test_every_letter_is_explained() -> None:
    assert {letter for _, _, letters in rows() for letter in letters.values()} == set(OUTCOMES)


def test_no_stranger_is_shown_anything_private() -> None:
    assert set(STRANGERS) < set(ROLES)
    assert not [(name, role) for _, name, letters in rows() for role in STRANGERS if letters[role] == "s"]


def test_every_tool_has_cells() -> None:
    assert {re.split(r"[ :]", name)[0] for name in named("Tools")} - {"as"} == set(BOUND)


def test_every_table_has_cells() -> None:
    for table in BY_NAME:
        assert {f"{tool} {table}" for tool in ("get", "find", "update", "delete")} <= set(named("Tools")), table


def test_every_resource_has_cells_and_so_has_following_it_in_both_eras() -> None:
    for one in (*FIXED, *TEMPLATES):
        for section, verb in (("Resources", "read"), ("Subscriptions", "subscribe"), ("Subscriptions", "listen")):
            assert [name for name in named(section) if re.fullmatch(rf"{verb} {re.escape(one.uri)}(: .*)?", name)]


def test_every_prompt_and_each_of_its_arguments_has_cells() -> None:
    for prompt, built_in in BUILT_IN.items():
        assert [name for name in named("Prompts") if name.startswith(f"{prompt}:")]
        assert {f"{prompt}: {argument}" for argument in built_in.arguments} <= set(named("Completions"))
    for one in TEMPLATES:
        subject, _, part = one.uri.removeprefix("one://").partition("/{id}")
        assert f"{subject}{part.replace('/', ', ')} (resource)" in named("Completions")


def test_every_list_of_the_protocol_has_cells() -> None:
    assert set(LISTS) == {"tools/list", "prompts/list", "resources/list", "resources/templates/list"}


def test_every_scope_is_some_roles() -> None:
    assert {scope for scopes in SCOPES.values() for scope in scopes} | USER_SCOPES == ALL_SCOPES
    assert set(SCOPES) < set(ROLES)
