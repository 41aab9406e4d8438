"""Writes the generated files from the declarations; `--check` only says whether they are current."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from server.binding import BOUND  # noqa: E402
from server.resources import FIXED, TEMPLATES  # noqa: E402
from storage.auth_tables import AUTH_TABLES  # noqa: E402
from storage.tables import TABLES  # noqa: E402
from tools_impl.builtin_prompts import BUILT_IN, BuiltIn  # noqa: E402
from tools_impl.deletion import WORDS  # noqa: E402
from tools_impl.describe import table_section  # noqa: E402
from tools_impl.rows import ALWAYS_IMMUTABLE, IMMUTABLE  # noqa: E402

NOTE = "<!-- Made by scripts/generate.py from the declarations. Do not edit. -->\n"


def tool_snapshot() -> str:
    """Every tool as a client gets it."""
    tools = [bound.tool.model_dump(by_alias=True, exclude_none=True, mode="json") for bound in BOUND.values()]
    return json.dumps(tools, indent=2) + "\n"


def tools_page() -> str:
    """Tools, resources and prompts for people."""
    parts = [NOTE + "# Tools", "Arguments in **bold** are required. Every list pages with `nextCursor`."]
    for bound in BOUND.values():
        tool = bound.tool
        hint = "writes" if bound.writes else "reads"
        facts = f"*{tool.title}; {hint}; toolset `{bound.operation.toolset}`*"
        parts.append(f"## {tool.name}\n\n{facts}\n\n{tool.description}")
        required = set(tool.input_schema.get("required", ()))
        rows = [
            f"| {f'**{name}**' if name in required else name} | {_type(schema)} | {_words(schema)} |"
            for name, schema in tool.input_schema["properties"].items()
        ]
        parts.append("\n".join(["| argument | type | |", "|---|---|---|", *rows]))
    parts.append("# Resources")
    lines = [f"| `{uri}` | {title} | {words} |" for uri, title, words, *_ in (*FIXED, *TEMPLATES)]
    parts.append("\n".join(["| URI | title | |", "|---|---|---|", *lines]))
    parts.append("# Prompts\n\nThese, and the rows of `prompts` without a status or with `active`.")
    lines = [f"| `{name}` | {_arguments(one)} | {one.words} |" for name, one in BUILT_IN.items()]
    parts.append("\n".join(["| prompt | arguments | |", "|---|---|---|", *lines]))
    return "\n\n".join(parts) + "\n"


def _arguments(prompt: BuiltIn) -> str:
    named = [f"**{name}**" if one.required else name for name, one in prompt.arguments.items()]
    return ", ".join(named)


def _type(schema: dict[str, object]) -> str:
    enum = schema.get("enum")
    if isinstance(enum, list):
        return " \\| ".join(f"`{value}`" for value in enum)
    items = schema.get("items")
    if isinstance(items, dict):
        return f"list of {_type(items)}"
    return str(schema.get("type", "any JSON"))


def _words(schema: dict[str, object]) -> str:
    words = [str(schema["description"]).replace("|", "\\|")] if "description" in schema else []
    limits = (("default", "default"), ("minimum", "at least"), ("maximum", "at most"))
    words += [f"{text} {schema[key]}" for key, text in limits if key in schema]
    return "; ".join(words)


def tables_page() -> str:
    """All 22 tables for people."""
    parts = [
        NOTE + "# Tables",
        "`?` marks optional fields, *(extension)* what is not in the seed's schema. In SQL every table also has `seq`, "
        "the commit number of a row's creation and its key, and `rev`, that of its last change (`seq` in results).",
    ]
    for table in TABLES:
        fixed = ", ".join(sorted(IMMUTABLE[table.table] | (ALWAYS_IMMUTABLE - {"seq", "rev"})))
        ending = WORDS.get(table, "the row goes")
        parts.append(f"{table_section(table)}\n\nNever changed by `update`: {fixed}.\n\nDeleting: {ending}.")
    parts.append("# Auth tables\n\nIn `auth.duckdb`; no tool reaches them.")
    parts += [table_section(table) for table in AUTH_TABLES]
    return "\n\n".join(parts) + "\n"


def main(check: bool) -> int:
    """Write or compare; the process's exit status."""
    files = {
        "docs/tools.md": tools_page(),
        "docs/tables.md": tables_page(),
        "tests/snapshots/tools.json": tool_snapshot(),
    }
    stale = [name for name, text in files.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
    if check:
        for name in stale:
            print(f"{name} is not current: run scripts/generate.py")
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(files[name])
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
