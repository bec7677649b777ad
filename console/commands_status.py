"""Commands of those who run the system: how the work stands, and whether this machine is well.

`console.cli` adds them. Both only look, and show neither a patient's data nor a secret; the first also leaves
the figures that it shows for the alarms.
"""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
DONE, LOOK = 0, 3


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (status, doctor):
        app.command(command.__name__)(command)


def status(as_json: AsJson = False) -> None:
    """Show runs, files and claims, and what waits for whom.

    Late and missing runs are among what waits. Schedules are shown where PREFECT_API_URL names a server.
    """
    from console.cli import show_json
    from console.status_pages import show_status
    from flows.looks import measure

    found = measure()
    if as_json:
        show_json(found.model_dump(mode="json"))
    else:
        show_status(found)
    raise typer.Exit(LOOK if found.waiting else DONE)


def doctor(as_json: AsJson = False) -> None:
    """Check settings, ledger, storage, clock, tables and Prefect."""
    from console.cli import show_json
    from console.status_pages import show_checks
    from flows.looks import examine

    checks = examine()
    if as_json:
        show_json({"checks": [check.model_dump(mode="json") for check in checks]})
    else:
        show_checks(checks)
    raise typer.Exit(LOOK if any(check.needs_people for check in checks) else DONE)
