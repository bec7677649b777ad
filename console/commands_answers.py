"""Commands of the answers: collect what came back, show what any response file says, confirm a match.

`console.cli` adds them. They read their arguments, start a flow or a reader, and print.
"""

from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
DONE, LOOK = 0, 3
MOST_ROWS = 50  # of a table on a screen


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("collect")(collect)
    app.command("match")(match)


def collect(
    output: Annotated[
        str, typer.Option(help="Where the raw answers are kept: s3://bucket/prefix or a folder.")
    ],
    inbox: Annotated[
        str | None,
        typer.Option(help="A folder, s3://… or sftp://user@host/folder; RPMCLAIMS_INBOX unless given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read TA1, 999, 277CA and 835 from the inbox and post them."""
    from console.cli import prepare_prefect, show_json

    prepare_prefect()
    from flows.collection import collection

    summary = collection(output=output, inbox=inbox)
    if as_json:
        show_json(summary.model_dump(mode="json"))
    else:
        _show_collection(summary)
    raise typer.Exit(LOOK if summary.needs_people else DONE)


def _show_collection(summary: Any) -> None:
    """Show what each file was and what became of it, then what waits for a match."""
    from console.pages import money, out, table

    console = out()
    console.print(f"\n[bold]{len(summary.files)} new files[/bold]  Inbox: {summary.inbox}\n", soft_wrap=True)
    figures = ("Payments", "Paid", "Claims", "Answers", "Rejected", "Denied lines")
    if summary.files:
        shown = table("Answers", "File", "Kind", "State", *figures, right=figures)
        for file in summary.files:
            shown.add_row(
                file.name,
                file.kind,
                f"[red]{_state(file)}[/red]" if file.needs_people else file.state,
                f"{file.payments_posted} of {file.payments}" if file.payments else "",
                money(file.paid) if file.payments else "",
                f"{file.claims:,}" if file.claims else "",
                f"{file.answers:,}" if file.answers else "",
                f"{file.rejected:,}" if file.rejected else "",
                f"{file.lines_denied:,}" if file.lines_denied else "",
            )
        console.print(shown)
    if summary.matched_later:
        console.print(f"{summary.matched_later:,} earlier answers have found their claim.")
    if summary.unmatched_claims or summary.unmatched_answers:
        console.print(
            f"[yellow]Unmatched: {summary.unmatched_claims:,} remittance claims "
            f"({money(summary.unmatched_paid)} paid) and {summary.unmatched_answers:,} other answers: "
            "see `rpmclaims worklist`.[/yellow]",
            soft_wrap=True,
        )


def _state(file: Any) -> str:
    """Call a file that can be read and answers nothing what it is."""
    is_no_answer = file.state == "unreadable" and file.kind != "unknown"
    return "not an answer" if is_no_answer else str(file.state)


def show_reading(document: dict[str, Any]) -> None:
    """Show the tables of a file, the first rows of each; `read-x12` in `console.cli` reads it."""
    from console.pages import out, table

    console = out()
    console.print(f"\n[bold]{document['file']}[/bold]\n", soft_wrap=True)
    for name, rows in document.items():
        if not rows or not isinstance(rows, list):
            continue
        # A column that is empty throughout only takes room.
        columns = [column for column in rows[0] if any(row[column] not in (None, []) for row in rows)]
        shown = table(f"{name.replace('_', ' ').capitalize()}: {len(rows):,}", *columns)
        for row in rows[:MOST_ROWS]:
            shown.add_row(*(_cell(row[column]) for column in columns))
        console.print(shown)
        if len(rows) > MOST_ROWS:
            console.print(f"… and {len(rows) - MOST_ROWS:,} more; --json or --parquet gives them all.")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ":".join(value)
    return "" if value is None else str(value)


def match(
    remittance_claim: Annotated[int, typer.Argument(help="The unmatched remittance claim, by its id.")],
    claim_number: Annotated[str, typer.Argument(help="The claim of ours that it is about.")],
    by: Annotated[str, typer.Option(help="Who says so, by name.")],
) -> None:
    """Put an unmatched remittance claim on a claim of ours."""
    from schemas.settings import load_settings
    from tasks.filing import open_ledger
    from tasks.late_matching import confirm_match

    with open_ledger() as ledger:
        ledger.upgrade()
        confirm_match(ledger.engine, remittance_claim, claim_number, by=by, at=load_settings().clock())
    typer.echo(f"Remittance claim {remittance_claim} is on claim {claim_number} now.", err=True)
