"""Commands of operations: deliver a month's files, and what people decide about them.

`console.cli` adds them. They read their arguments, start a flow or a decision, and print; what is allowed is
decided behind them.
"""

from typing import Annotated, Any

import typer

Month = Annotated[str, typer.Option(help="The service month, such as 2026-10.")]
Output = Annotated[str, typer.Option(help="Where the month's files are: s3://bucket/prefix or a folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
By = Annotated[str, typer.Option(help="Who decides, by name.")]
DONE, LOOK = 0, 3


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("submit")(submit)


def submit(
    month: Month,
    output: Output,
    outbox: Annotated[
        str | None,
        typer.Option(help="A folder, s3://… or sftp://user@host/folder; RPMCLAIMS_OUTBOX unless given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Deliver what is ready and not yet delivered."""
    from console.cli import prepare_prefect, show_json

    prepare_prefect()
    from flows.submission import submission

    summary = submission(month=month, output=output, outbox=outbox)
    if as_json:
        show_json(summary.model_dump(mode="json"))
    else:
        _show_submission(summary)
    raise typer.Exit(LOOK if summary.needs_people else DONE)


def _show_submission(summary: Any) -> None:
    """Show each file and what became of it, and what a person must do."""
    from console.pages import out, table

    console = out()
    console.print(f"\n[bold]{summary.month}[/bold]  Outbox: {summary.outbox}\n", soft_wrap=True)
    if summary.deliveries:
        shown = table("Claim files", "File", "Claims", "Charged", "Outcome", right=("Claims", "Charged"))
        for file in summary.deliveries:
            shown.add_row(
                file.file_name,
                f"{file.claim_count:,}",
                f"${file.total_cents / 100:,.2f}",
                OUTCOMES[file.outcome],
            )
        console.print(shown)
    for file in summary.deliveries:
        if file.reason:
            console.print(f"[yellow]{file.file_name} stays here: {file.reason}.[/yellow]", soft_wrap=True)
    if summary.waits_for:
        console.print(f"[yellow]{summary.waits_for}[/yellow]", soft_wrap=True)
    elif not summary.deliveries:
        console.print(f"Nothing to deliver; {summary.sent_before} files were delivered before.")


OUTCOMES = {"delivered": "delivered", "was_there": "delivered before", "kept_back": "[red]kept back[/red]"}
