"""The command line. Each command is imported when it is used: without one this is the proxy, which must start fast."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from server import __version__
from server.endpoint import Failure

_ABOUT = """\
One place where a swarm of AI agents and the people around them talk, remember and can be analysed.

Without a command this speaks MCP on stdin and stdout: give it to a desktop client as the command of an MCP server.
All clients on one data directory share one hub, which the first of them starts and which ends when nobody needs it.
"""
_EXAMPLES = """\
examples:
  one-mcp demo                         a day of a swarm, on temporary data
  one-mcp --as agent_7                 an MCP client acts as this agent
  one-mcp serve --port 8000            serve MCP over HTTP at http://127.0.0.1:8000/mcp as well
  one-mcp sql "SHOW TABLES"            ask in SQL
  one-mcp status                       what runs, where, for how many clients
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command. Returns 0; raises SystemExit with another status when it fails."""
    arguments = command_line().parse_args(argv)
    arguments.data = Path(arguments.data).expanduser().absolute()
    if argv is None and arguments.command in {"hub", "serve"}:
        from storage.memory import restart_tuned

        restart_tuned()
    status = _run(arguments)
    if status:
        sys.exit(status)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace], int] = _COMMANDS[arguments.command]
    if arguments.command is None:
        return command(arguments)
    try:
        return command(arguments)
    except KeyboardInterrupt:
        return 130
    except (OSError, Failure) as error:
        sys.stderr.write(f"one-mcp: {error}\n")
        return 1


def _proxy(arguments: argparse.Namespace) -> int:
    from server.proxy import run

    return run(arguments.data, acts_as=arguments.acts_as, toolsets=arguments.toolsets, read_only=arguments.read_only)


def _hub(arguments: argparse.Namespace) -> int:
    from server.hub import run

    return run(arguments.data, auto=arguments.auto)


def _serve(arguments: argparse.Namespace) -> int:
    from server.hub import Http, run

    http = Http(
        arguments.no_auth,
        {
            "host": arguments.host,
            "port": arguments.port,
            "tls_certificate": arguments.tls_certificate,
            "tls_key": arguments.tls_key,
            "behind_proxy": arguments.behind_proxy or None,
            "public_url": arguments.public_url,
        },
    )
    return run(arguments.data, http=http, config=arguments.config)


def _status(arguments: argparse.Namespace) -> int:
    from server.status import status

    return status(arguments.data, as_json=arguments.json)


def _stop(arguments: argparse.Namespace) -> int:
    from server.status import stop

    return stop(arguments.data)


def _doctor(arguments: argparse.Namespace) -> int:
    from server.doctor import run

    return run(arguments)


def _import(arguments: argparse.Namespace) -> int:
    from server.importer import run

    return run(arguments)


def _reindex(arguments: argparse.Namespace) -> int:
    from server.reindex import run

    return run(arguments)


def _snapshot(arguments: argparse.Namespace) -> int:
    from server.snapshot import run

    return run(arguments)


def _sql(arguments: argparse.Namespace) -> int:
    from server.sql_command import run

    return run(arguments)


def _chart(arguments: argparse.Namespace) -> int:
    from server.chart_command import run

    return run(arguments)


def _report(arguments: argparse.Namespace) -> int:
    from server.report import run

    return run(arguments)


def _inbox(arguments: argparse.Namespace) -> int:
    from server.inbox import run

    return run(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from server.demo import run

    return run(arguments)


def _token(arguments: argparse.Namespace) -> int:
    from server.tokens_cli import run

    return run(arguments)


def _accounts(arguments: argparse.Namespace) -> int:
    from server.signin_cli import run

    return run(arguments)


_COMMANDS: dict[str | None, Callable[[argparse.Namespace], int]] = {
    None: _proxy,
    "hub": _hub,
    "serve": _serve,
    "status": _status,
    "stop": _stop,
    "doctor": _doctor,
    "import": _import,
    "reindex": _reindex,
    "snapshot": _snapshot,
    "sql": _sql,
    "chart": _chart,
    "report": _report,
    "inbox": _inbox,
    "demo": _demo,
    "token": _token,
    "user": _accounts,
    "session": _accounts,
}


def command_line() -> argparse.ArgumentParser:
    """What can be given to `one-mcp`."""
    parser = argparse.ArgumentParser(
        prog="one-mcp",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"one-mcp {__version__}")
    default = os.environ.get("ONE_DATA") or "~/.one-mcp"
    _add_data(parser, default)
    mcp = parser.add_argument_group("MCP on stdin and stdout (no command)")
    mcp.add_argument(
        "--as", dest="acts_as", metavar="ID", help="the agent that the client acts as, for example agent_7"
    )
    mcp.add_argument(
        "--toolsets",
        metavar="LIST",
        type=_names,
        help="show only these groups of tools, separated by commas (default: all)",
    )
    mcp.add_argument("--read-only", action="store_true", help="show only tools that change nothing")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    # Options of the main parser are accepted behind a command too; there they must not bring their default.
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    _add_data(shared, argparse.SUPPRESS)
    _add_hub_commands(commands, shared)
    _add_data_commands(commands, shared)
    return parser


def _add_data(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--data",
        metavar="DIR",
        default=default,
        help="the data directory (default: the environment variable ONE_DATA, else ~/.one-mcp)",
    )


def _add_hub_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser
) -> None:
    def add(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[shared], help=about, description=about, allow_abbrev=False)

    serve = add("serve", "Run the hub in the foreground and serve MCP over HTTP at /mcp. Ctrl-C ends it.")
    serve.add_argument("--host", help="the address to listen on (default: http.host in config.toml, 127.0.0.1)")
    serve.add_argument("--port", type=int, help="the port to listen on (default: http.port in config.toml, 8000)")
    serve.add_argument(
        "--tls-certificate", metavar="FILE", type=os.path.abspath, help="speak TLS with this certificate, a PEM file"
    )
    serve.add_argument(
        "--tls-key", metavar="FILE", type=os.path.abspath, help="the certificate's private key, a PEM file"
    )
    serve.add_argument(
        "--behind-proxy", action="store_true", help="a proxy speaks TLS, and nobody else reaches the port"
    )
    serve.add_argument("--public-url", metavar="URL", help="the URL by which clients reach /mcp from outside")
    serve.add_argument("--no-auth", action="store_true", help="ask for no token; only on a loopback address")
    serve.add_argument("--config", metavar="FILE", type=Path, help="read this instead of DIR/config.toml")
    status = add("status", "Show the hub that runs on the data directory, where it listens and what it holds.")
    status.add_argument("--json", action="store_true", help="print one line of JSON")
    add("stop", "End the hub and wait until it is gone. A client that needs one starts it again.")
    hub = commands.add_parser("hub", parents=[shared], description="Run the hub. Clients start it by themselves.")
    hub.add_argument("--auto", action="store_true", help="end when no client was connected for a while")


def _add_data_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser
) -> None:
    def add(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[shared], help=about, description=about, allow_abbrev=False)

    doctor = add("doctor", "Check the data directory, the settings and the stored rows, and say what is wrong.")
    doctor.add_argument("--json", action="store_true", help="print one line of JSON")
    importer = add("import", 'Store rows from a file of JSON lines: {"table": "conversationMessages", ...row}.')
    importer.add_argument("file", metavar="FILE", type=Path, help="the file to read; - is stdin")
    importer.add_argument("--batch", metavar="N", type=int, help="rows in one transaction (default: 500)")
    reindex = add("reindex", "Build the search index anew from the stored rows and vectors.")
    reindex.add_argument("--embed", action="store_true", help="make all vectors anew, too: this takes long")
    snapshot = add(
        "snapshot", "Bring analytics.duckdb, which any program may read, up to date at once; say where it is."
    )
    snapshot.add_argument("--json", action="store_true", help="print one line of JSON")
    _add_sql(
        add(
            "sql", "Ask the published snapshot in DuckDB's SQL: one statement that reads, on any terminal or to a file."
        )
    )
    _add_chart(add("chart", "Draw what a statement finds: the first column has the labels, numbers are the series."))
    report = add("report", "Write a page with charts and tables of the swarm: one HTML file that loads nothing else.")
    report.add_argument(
        "--output", metavar="FILE", type=Path, default=Path("report.html"), help="the file (default: report.html)"
    )
    report.add_argument("--title", metavar="TEXT", default="The swarm", help="its heading (default: The swarm)")
    _add_fresh(report)
    inbox = add(
        "inbox",
        "Print what is unread, and nothing when nothing is: for hooks of clients. "
        "It starts no hub: while none runs, nothing is printed.",
    )
    inbox.add_argument("--as", dest="acts_as", metavar="ID", help="whose inbox (default: the local owner's)")
    inbox.add_argument("--ack", action="store_true", help="mark as read what was printed")
    inbox.add_argument("--json", action="store_true", help="print one line of JSON")
    about = "Show a day of a swarm in under a minute, with clients and a hub of its own, on temporary data."
    demo = commands.add_parser("demo", help=about, description=about, allow_abbrev=False)
    demo.add_argument("--keep", action="store_true", help="leave the data where it is, and say where")
    _add_token(add("token", "Make, list and revoke the tokens that HTTP clients show."), shared)
    _add_user(add("user", "Say who may sign in where `one-mcp serve` has the built-in sign-in."), shared)
    _add_session(add("session", "List and end what is signed in: browsers, and clients that users allowed."), shared)


def _add_token(token: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    actions = token.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", parents=[shared], help="make a token and print it, once")
    who = create.add_mutually_exclusive_group()
    who.add_argument("--user", metavar="ID", help="the user whose token it is (default: the local owner)")
    who.add_argument("--agent", metavar="ID", help="the agent whose token it is")
    create.add_argument(
        "--scopes", type=_names, default=("read", "write"), help="read, write, analyst, admin (default: read,write)"
    )
    create.add_argument("--expires", metavar="DURATION", help="for example 12h or 30d (default: never)")
    create.add_argument("--name", metavar="TEXT", help="what the token is for")
    listing = actions.add_parser("list", parents=[shared], help="list the tokens, without their secrets")
    listing.add_argument("--json", action="store_true", help="print JSON")
    revoke = actions.add_parser("revoke", parents=[shared], help="make a token useless")
    revoke.add_argument("token_id", metavar="TOKEN_ID", help="its id, as `token list` shows it")


def _add_user(user: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    actions = user.add_subparsers(dest="action", metavar="ACTION", required=True)
    invite = actions.add_parser("invite", parents=[shared], help="print a link with which somebody signs up, once")
    invite.add_argument("--name", metavar="TEXT", help="what to call them")
    listing = actions.add_parser("list", parents=[shared], help="list accounts and invitations")
    listing.add_argument("--json", action="store_true", help="print JSON")
    disable = actions.add_parser(
        "disable", parents=[shared], help="end all sessions of an account, and let it in no more"
    )
    enable = actions.add_parser("enable", parents=[shared], help="let it in again, or change its scopes")
    reset = actions.add_parser("reset", parents=[shared], help="print a link to choose a new password with, once")
    for action in (invite, disable, enable, reset):
        action.add_argument("email", metavar="EMAIL", help="the address of the account")
    invite.add_argument(
        "--scopes",
        type=_names,
        help="what clients may be given at most: read, write, analyst, admin (default: read,write)",
    )
    enable.add_argument("--scopes", type=_names, help="what clients may be given at most from now on")


def _add_session(session: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    actions = session.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=[shared], help="list what is signed in")
    listing.add_argument("--user", dest="email", metavar="EMAIL", help="only this account's")
    listing.add_argument("--json", action="store_true", help="print JSON")
    revoke = actions.add_parser("revoke", parents=[shared], help="end sessions, with all their tokens")
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("session_id", nargs="?", metavar="SESSION_ID", help="its id, as `session list` shows it")
    which.add_argument("--user", dest="email", metavar="EMAIL", help="all of this account's")


def _add_chart(chart: argparse.ArgumentParser) -> None:
    chart.add_argument("sql", metavar="SQL", help="the statement; - reads it from stdin")
    chart.add_argument(
        "--output", metavar="FILE", type=Path, required=True, help="the image: a file that ends in .png or .svg"
    )
    chart.add_argument(
        "--kind",
        choices=("line", "bar", "funnel", "heatmap"),
        help="what to draw (default: a line over times and numbers, bars otherwise)",
    )
    chart.add_argument("--title", metavar="TEXT", help="its heading")
    _add_fresh(chart)


def _add_fresh(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fresh", action="store_true", help="publish a snapshot first, so that all that is stored is in it"
    )


def _add_sql(sql: argparse.ArgumentParser) -> None:
    sql.add_argument("sql", metavar="SQL", help='the statement, for example "SHOW TABLES"; - reads it from stdin')
    sql.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="write all rows to FILE, which ends in .csv, .json, .parquet or .arrow",
    )
    sql.add_argument(
        "--format",
        choices=("table", "csv", "json", "markdown"),
        help="how to print (default: table on a terminal, csv otherwise)",
    )
    sql.add_argument(
        "--fresh", action="store_true", help="publish a snapshot first, so that all that is stored is in it"
    )
    sql.add_argument(
        "--max-rows", metavar="N", type=int, help="rows to read (default: 1000 for table and markdown, otherwise all)"
    )
    sql.add_argument(
        "--seconds",
        metavar="N",
        type=float,
        help="how long it may take (default: analytics.query_seconds in config.toml; 600 to a file)",
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    if not names:
        raise argparse.ArgumentTypeError("at least one name is needed")
    return names
