"""The command line: ``orchestrator COMMAND``.

Each command is the object ``command`` of the module of its name in this package, imported when it is used, so
that no command pays for another's imports.

Exit codes: 0 done; 1 done, and the answer is no (a watched job did not complete, `verify` found problems);
2 wrong usage; 3 refused or failed, with one line ``error: CODE: MESSAGE`` on standard error; 130 interrupted.
`serve` has two more, see `orchestrator.cli.ending`.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Final

import click

from orchestrator.errors import OrchestratorError

DONE: Final = 0
NO: Final = 1
FAILED: Final = 3
INTERRUPTED: Final = 130

#: Commands in the order people meet them, with the line that introduces them.
COMMANDS: Final = {
    "demo": "Run a Bell circuit and three more on a cloud of your own, here and now.",
    "serve": "Serve the HTTP API and the event feed.",
    "submit": "Submit a job from a file.",
    "watch": "Watch jobs, or a whole project, live.",
    "events": "Print the events after a cursor, and follow them.",
    "jobs": "List jobs, or show one with its results.",
    "cancel": "Cancel jobs.",
    "backends": "List backends; pause, resume and drain them.",
    "projects": "Add and list projects.",
    "keys": "Add, list and revoke API keys.",
    "hooks": "Notify people and programs of what happens to jobs.",
    "verify": "Prove that the tables equal the event log.",
    "bench": "Measure what this machine can do.",
    "plugins": "Make, list, describe and check plugins.",
    "doctor": "Look for what could be wrong with this installation.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ion-orchestrator", prog_name="orchestrator")
def root() -> None:
    """Your own quantum cloud: jobs in through the IonQ API, every step on the record.

    Commands take --json for scripts. Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 refused or failed.
    """


def run(arguments: list[str]) -> int:
    """Run one command; answers the exit code. What goes wrong becomes one line on standard error."""
    try:
        code = root.main(arguments, prog_name="orchestrator", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has had enough; the interpreter shall not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OrchestratorError as error:
        return _failed(error.code, str(error))
    except OSError as error:
        return _failed("system", str(error))
    except Exception as error:
        if os.environ.get("ORCHESTRATOR_TRACEBACK"):
            raise
        return _failed("internal", f"{type(error).__name__}: {error} (ORCHESTRATOR_TRACEBACK=1 shows where)")
    return code if isinstance(code, int) else DONE


def _failed(code: str, message: str) -> int:
    click.echo(f"error: {code}: {' '.join(message.split())}", err=True)
    return FAILED


def main() -> None:
    """Entry point of the command ``orchestrator``."""
    sys.exit(run(sys.argv[1:]))
