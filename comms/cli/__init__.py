"""The command line: ``comms --help`` for people; ``arguments`` has the words, a module each what they do."""

import os
import sys
from collections.abc import Sequence

from comms import settings
from comms.cli import arguments
from comms.cli.imports import imported
from comms.embedded import EmbeddedUnavailable
from comms.errors import CannotRun
from comms.settings import Misconfigured


def main(words: Sequence[str] | None = None) -> None:
    """Runs one command; exits 2 on wrong usage or configuration, 1 when it cannot be done."""
    chosen = arguments.parser().parse_args(words)
    environ = dict(os.environ)
    for option, variable in (("host", "COMMS_HOST"), ("port", "COMMS_PORT"), ("data_dir", "COMMS_DATA_DIR")):
        if getattr(chosen, option, None) is not None:
            environ[variable] = str(getattr(chosen, option))
    try:
        configured = settings.read(environ)
        # Imported only now: a command should not wait for what the others need, nor what is wrong for anything.
        sys.exit(imported(f"comms.cli.{chosen.run}")(configured, chosen))
    except Misconfigured as error:
        print("comms cannot run with this configuration:", file=sys.stderr)
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
        sys.exit(2)
    except (EmbeddedUnavailable, CannotRun) as error:
        print(f"comms: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
