"""Status pages: what `status` and `doctor` show a person, as tables.

`console.commands_status` calls them with what was found. Nothing is looked up or judged here.
"""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.markup import escape

from console.pages import money, out, table
from schemas.operations import Check, Status

COLOURS = {"ok": "green", "unset": "dim", "warning": "yellow", "failed": "red"}


def show_status(status: Status) -> None:
    """Show what waits first, then schedules, runs, files and claims."""
    console = out()
    _show_waiting(console, status)
    if status.schedules is None:
        console.print("Schedules are not shown: PREFECT_API_URL names no server that answers.")
    elif status.schedules:
        shown = table("\nSchedules", "Deployment", "Last run", "Ended", "Next run", "Late", right=("Late",))
        for one in status.schedules:
            late = f"[red]{one.late_runs}[/red]" if one.late_runs else "0"
            shown.add_row(
                one.deployment, _time(one.last_at), one.last_state or "never ran", _time(one.next_at), late
            )
        console.print(shown)
    if status.runs:
        shown = table("\nMonth-ends", "Month", "State", "Started", "By", "Ended", "Output")
        for run in status.runs:
            started, ended = _time(run.started_at), _time(run.finished_at)
            state = f"[red]silent since {_time(run.seen_at)}[/red]" if run.is_silent else run.state
            shown.add_row(run.month, state, started, run.started_by or "", ended, escape(run.output))
        console.print(shown)
    _show_files(console, status)
    if status.claims:
        shown = table("\nClaims", "State", "Claims", "Charged", right=("Claims", "Charged"))
        for claims in status.claims:
            shown.add_row(claims.state, f"{claims.claims:,}", money(str(claims.charged)))
        console.print(shown)
    console.print(f"\nStill owed on claims that left: {money(str(status.open_money))}")


def _show_waiting(console: Console, status: Status) -> None:
    if not status.waiting:
        console.print("\n[green]Nothing waits for anybody.[/green]")
        return
    shown = table("\nWhat waits for whom", "What", "For", "Count", "Money", "Since", right=("Count", "Money"))
    for item in status.waiting:
        amount = money(str(item.money)) if item.money is not None else ""
        shown.add_row(escape(item.what), item.waits_for, f"{item.count:,}", amount, _time(item.since))
    console.print(shown)
    for step in dict.fromkeys(f"{item.what}: {item.next_step}" for item in status.waiting):
        console.print(f"[yellow]{escape(step)}[/yellow]", soft_wrap=True)


def _show_files(console: Console, status: Status) -> None:
    if not status.files:
        return
    figures = ("Files", "Claims", "Charged")
    shown = table("\nFiles", "", "Month", "Kind", "State", *figures, "Newest", right=figures)
    for file in status.files:
        shown.add_row(
            *(file.direction, file.month, file.kind, file.state, f"{file.files:,}"),
            f"{file.claims:,}" if file.claims is not None else "",
            money(str(file.charged)) if file.charged is not None else "",
            _time(file.newest_at),
        )
    console.print(shown)


def show_checks(checks: Sequence[Check]) -> None:
    """Show each check and what was found, then what to do."""
    console = out()
    shown = table("", "Checked", "", "Found")
    for check in checks:
        colour = COLOURS[check.state]
        shown.add_row(check.name, f"[{colour}]{check.state}[/{colour}]", escape(check.found))
    console.print(shown)
    for check in checks:
        if check.fix:
            console.print(f"[yellow]{check.name}: {escape(check.fix)}[/yellow]", soft_wrap=True)


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z" if at else ""
