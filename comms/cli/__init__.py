"""The command line: ``comms --help`` for people."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from comms import settings
from comms.cli import doctor, running, schema, simulating
from comms.embedded import EmbeddedUnavailable
from comms.migrations import SchemaUnusable
from comms.settings import Misconfigured

_DESCRIPTION = "comms: signed webhooks in, conversations on every agent's screen."
_EPILOG = """\
Begin with `comms up`: a database, a demo workspace and the service on http://127.0.0.1:8000.
Then, in another terminal, `comms simulate sms --body "Hello"` makes a message appear.

Configuration is by environment variables:
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; exits 2 on wrong usage or configuration, 1 when it cannot be done."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    environ = dict(os.environ)
    for option, variable in (("host", "COMMS_HOST"), ("port", "COMMS_PORT"), ("data_dir", "COMMS_DATA_DIR")):
        if getattr(chosen, option, None) is not None:
            environ[variable] = str(getattr(chosen, option))
    try:
        sys.exit(chosen.run(settings.read(environ), chosen))
    except Misconfigured as error:
        print("comms cannot run with this configuration:", file=sys.stderr)
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
        sys.exit(2)
    except (EmbeddedUnavailable, SchemaUnusable, running.CannotRun) as error:
        print(f"comms: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    variables = "\n".join(f"  {name:<22} {meaning}" for name, meaning in settings.VARIABLES.items())
    parser = argparse.ArgumentParser(
        prog="comms",
        description=_DESCRIPTION,
        epilog=_EPILOG + variables,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="everything in one process: database, migrations, demo workspace, web, worker")
    _listening(up)
    up.add_argument("--no-demo", action="store_true", help="do not make the demo workspace")
    up.set_defaults(run=running.up)

    serve = commands.add_parser("serve", help="the web process")
    _listening(serve)
    serve.add_argument("--migrate", action="store_true", help="bring the database to the newest schema first")
    serve.set_defaults(run=running.serve)

    worker = commands.add_parser("worker", help="a process that works off jobs")
    _data(worker)
    worker.set_defaults(run=running.work)

    database = commands.add_parser("db", help="the schema: upgrade or downgrade")
    steps = database.add_subparsers(title="steps", required=True, metavar="STEP")
    for name, step, default in (("upgrade", schema.upgrade, "head"), ("downgrade", schema.downgrade, "-1")):
        parsed = steps.add_parser(name, help=f"{name} to a revision (default {default})")
        parsed.add_argument("revision", nargs="?", default=default)
        _data(parsed)
        parsed.set_defaults(run=step)

    simulating.add_to(commands, _data)

    checkup = commands.add_parser("doctor", help="what is misconfigured, in words")
    _data(checkup)
    checkup.set_defaults(run=doctor.examine)
    return parser


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, help="folder of the embedded database and demo.json (default .comms)")


def _listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8000)")
    _data(parser)
