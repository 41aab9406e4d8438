"""The pages of the reference, each made from what is declared in the code."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from server.binding import BOUND, Bound
from server.cli import command_line
from server.resources import FIXED, TEMPLATES
from storage.analytics_views import VIEWS
from storage.auth_tables import AUTH_TABLES, OWN_AUTH_TABLES
from storage.row import Row, columns
from storage.tables import TABLES
from tools_impl import TOOLSETS
from tools_impl.access import CHANGED_BY, SEEN_BY
from tools_impl.builtin_prompts import BUILT_IN, BuiltIn
from tools_impl.deletion import WORDS
from tools_impl.describe import table_section
from tools_impl.rows import ALWAYS_IMMUTABLE, IMMUTABLE
from tools_impl.shared import TWINS

NOTE = "<!-- Made by scripts/generate.py from the declarations. Do not edit. -->\n"
CONFIG = Path(__file__).resolve().parent.parent / "config.toml"
ANALYTICS_FIGURES = CONFIG.parent / "benchmarks" / "results" / "views.md"
"""What `python -m benchmarks.views` wrote last."""


def tools_page() -> str:
    """Every tool with its arguments, and the toolsets."""
    parts = [
        NOTE + "# Tools",
        "Arguments in **bold** are required. Every list pages with `nextCursor`. `one-mcp --toolsets core,plan` offers "
        "only some of them, `--read-only` only those that read.",
    ]
    rows = []
    for toolset in TOOLSETS:
        names = [f"[{name}](#{name})" for name, bound in BOUND.items() if bound.operation.toolset == toolset]
        rows.append((f"`{toolset}`", ", ".join(names)))
    parts.append(_table(("toolset", "tools"), rows))
    for bound in BOUND.values():
        parts += _tool(bound)
    return _page(parts)


def _tool(bound: Bound) -> Iterator[str]:
    tool = bound.tool
    hint = "writes" if bound.writes else "reads"
    yield f"## {tool.name}"
    yield f"*{tool.title}; {hint}; toolset `{bound.operation.toolset}`*"
    yield str(tool.description)
    required = set(tool.input_schema.get("required", ()))
    rows = [
        (f"**{name}**" if name in required else name, _type(schema), _words(schema))
        for name, schema in tool.input_schema["properties"].items()
    ]
    yield _table(("argument", "type", ""), rows)


def _type(schema: dict[str, object]) -> str:
    enum = schema.get("enum")
    if isinstance(enum, list):
        return " | ".join(f"`{value}`" for value in enum)
    items = schema.get("items")
    if isinstance(items, dict):
        return f"list of {_type(items)}"
    return str(schema.get("type", "any JSON"))


def _words(schema: dict[str, object]) -> str:
    words = [str(schema["description"])] if "description" in schema else []
    limits = (("default", "default"), ("minimum", "at least"), ("maximum", "at most"))
    words += [f"{text} {schema[key]}" for key, text in limits if key in schema]
    return "; ".join(words)


def resources_page() -> str:
    """Every resource and every prompt that is always there."""
    resources = [
        (f"`{one.uri}`", one.title, one.words, f"`{one.mime}`", "no: it never changes" if one.table is None else "yes")
        for one in (*FIXED, *TEMPLATES)
    ]
    return _page(
        [
            NOTE + "# Resources and prompts",
            "## Resources",
            "`resources/list` has the first ones, then the conversations by their last message, then the agents. "
            "`{id}` is completed from ids and from titles or names. Followed: by `resources/subscribe` or "
            "`subscriptions/listen`; who may not see a resource is not told of it either.",
            _table(("URI", "title", "", "MIME type", "can be followed"), resources),
            "## Prompts",
            "Rows of `prompts` without a status or with `active` are MCP prompts, named by their title and id "
            "(`launch_note-prompt_12`). Their arguments: `requiredContext`, which is required, then the other "
            "`{{name}}` placeholders of the template. These are always there:",
            _table(
                ("prompt", "arguments", ""), [(f"`{n}`", _arguments(one), one.words) for n, one in BUILT_IN.items()]
            ),
            "The tool `render_prompt` renders all of them, for clients without prompts.",
        ]
    )


def _arguments(prompt: BuiltIn) -> str:
    named = [f"{f'**{name}**' if one.required else name} ({one.words})" for name, one in prompt.arguments.items()]
    return ", ".join(named)


def tables_page() -> str:
    """All 22 tables: fields, relationships, who sees and changes rows, what deleting does."""
    parts = [
        NOTE + "# Tables",
        "`?` marks optional fields, *(extension)* what is not in the seed's schema. In SQL every table also has `seq`, "
        "the commit number of a row's creation and its key, and `rev`, that of its last change (`seq` in results). "
        "Admins see and change everything; what is an agent's, its creator may change as well. Hidden rows are as good "
        "as missing. A tag in the `tags` of any row has its row in tags.",
    ]
    for table in TABLES:
        parts += [table_section(table), "\n".join(f"- *{title}*: {words}" for title, words in _rules(table))]
    parts += ["# Auth tables", "In `auth.duckdb`; no tool reaches them."]
    parts += [table_section(table) for table in (*AUTH_TABLES, *OWN_AUTH_TABLES)]
    return _page(parts)


def _rules(table: type[Row]) -> Iterator[tuple[str, str]]:
    referring = [
        f"{other.table}.{column.name}"
        for other in TABLES
        for column in columns(other)
        if column.refers_to is not None and table.table in column.refers_to.tables
    ]
    if referring:
        yield "Referred to by", ", ".join(referring)
    if table in TWINS:
        yield "Stored twice", TWINS[table]
    yield "Seen by", SEEN_BY[table]
    yield "Changed by", CHANGED_BY[table]
    yield "Never changed by `update`", ", ".join(sorted(IMMUTABLE[table.table] | (ALWAYS_IMMUTABLE - {"seq", "rev"})))
    yield "Deleting", WORDS.get(table, "the row goes")


def analytics_page() -> str:
    """Every view with its columns and an example."""
    parts = [
        NOTE + "# Views for analysts",
        "On the tables of the application ([tables](tables.md)), in every published snapshot and for the tools `query` "
        "and `chart`. Names are camelCase and quoted in SQL; times are UTC. The catalog carries the same words as "
        "comments, on tables, views and columns: `SELECT view_name, comment FROM duckdb_views() WHERE NOT internal`, "
        "`SELECT column_name, comment FROM duckdb_columns()`. They run on DuckDB 1.2 and later.",
        ANALYTICS_FIGURES.read_text(encoding="utf-8").strip(),
    ]
    for view in VIEWS:
        rows = [(f"`{column}`", words) for column, words in view.columns.items()]
        parts += [f"## {view.name}", view.comment, _table(("column", ""), rows), f"```sql\n{view.example}\n```"]
    return _page(parts)


def settings_page() -> str:
    """Every setting, with the comments of config.toml."""
    text = CONFIG.read_text(encoding="utf-8")
    defaults = tomllib.loads(text)
    intro, sections = _commented(text)
    intro = intro.removeprefix("Every setting of one-mcp with its default. ")
    parts = [NOTE + "# Settings", intro.replace("this file", "the [file that comes along](../config.toml)")]
    for section, (words, settings) in sections.items():
        parts += [f"## {section}", words]
        rows = [(f"`{key}`", f"`{json.dumps(defaults[section][key])}`", said) for key, said in settings.items()]
        parts.append(_table(("key", "default", ""), rows))
    return _page(parts)


def _commented(text: str) -> tuple[str, dict[str, tuple[str, dict[str, str]]]]:
    """The comments of a file of settings: of the whole, and by section of it and of each key."""
    intro, words = "", ""
    sections: dict[str, tuple[str, dict[str, str]]] = {}
    settings: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            words = f"{words} {line[1:].strip()}".strip()
        elif header := re.fullmatch(r"\[(\w+)\]", line):
            settings = {}
            sections[header[1]] = (words, settings)
            words = ""
        elif key := re.match(r"(\w+) = ", line):
            settings[key[1]] = words
            words = ""
        elif not intro:
            intro, words = words, ""
    return intro, sections


def commands_page() -> str:
    """Every command with its arguments."""
    whole = command_line()
    parts = [NOTE + "# Commands", str(whole.description).strip(), "## one-mcp", _options(whole)]
    for name, command in _subcommands(whole):
        parts += [f"## one-mcp {name}", str(command.description), _options(command)]
        for action, nested in _subcommands(command):
            parts += [f"### one-mcp {name} {action}", _options(nested)]
    return _page([part for part in parts if part])


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for shown in action._choices_actions:  # a command without help is not for people
                yield shown.dest, action.choices[shown.dest]


def _options(parser: argparse.ArgumentParser) -> str:
    rows = [
        (f"`{_usage(action)}`", str(action.help))
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction | argparse._VersionAction)
    ]
    return _table(("argument", ""), rows) if rows else ""


def _usage(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    return " ".join([*action.option_strings, value]).strip()


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *((cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _page(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"
