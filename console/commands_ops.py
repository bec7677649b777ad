"""Commands of operations: deliver a month's files, and what people decide about them.

`console.cli` adds them. They read their arguments, start a flow or a decision, and print; what is allowed is
decided behind them.
"""

from typing import Annotated, Any

import typer

Month = Annotated[str, typer.Option(help="The service month, such as 2026-10.")]
Output = Annotated[str, typer.Option(help="Where the month's files are: s3://bucket/prefix or a folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
ClaimNumber = Annotated[str, typer.Argument(help="The claim's number (CLM01), such as R26101A2B3C4D5E6F1.")]
By = Annotated[str, typer.Option(help="Who decides, by name.")]
DONE, LOOK = 0, 3


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (submit, approve, release, correct, resend, retry):
        app.command(command.__name__)(command)


def submit(
    month: Month,
    output: Output,
    outbox: Annotated[
        str | None,
        typer.Option(help="A folder, s3://… or sftp://user@host/folder; RPMCLAIMS_OUTBOX unless given."),
    ] = None,
    resend: Annotated[
        str | None,
        typer.Option(help="A file whose delivery is unknown and which the clearinghouse says it never had."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who asked the clearinghouse, by name.")] = None,
    reason: Annotated[str | None, typer.Option(help="What they said; it stays with the claims.")] = None,
    as_json: AsJson = False,
) -> None:
    """Deliver what is ready and not yet delivered."""
    from console.cli import prepare_prefect, show_json

    prepare_prefect()
    from flows.decisions import deliver_anew
    from flows.submission import submission

    if resend is not None:
        deliver_anew(resend, by, reason)

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
            console.print(f"[yellow]{file.file_name}: {file.reason}.[/yellow]", soft_wrap=True)
    if summary.waits_for:
        console.print(f"[yellow]{summary.waits_for}[/yellow]", soft_wrap=True)
    elif not summary.deliveries:
        console.print(f"Nothing to deliver; {summary.sent_before} files were delivered before.")


OUTCOMES = {
    "delivered": "delivered",
    "was_there": "delivered before",
    "kept_back": "[red]kept back[/red]",
    "unknown": "[red]unknown[/red]",
}


def approve(
    month: Month,
    by: By,
    output: Annotated[
        str | None,
        typer.Option(help="Where the month's files are, if it was written to more than one place."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a month's files leave, exactly as they are.

    Whoever made them may not be the one who decides.
    """
    from console.cli import show_json
    from flows.decisions import approve as decide

    approved = decide(month, output, by)
    if as_json:
        show_json(approved.model_dump(mode="json"))
        return
    typer.echo(
        f"{approved.approved_by} approved {len(approved.files)} files of {approved.month}: "
        f"{approved.claim_count:,} claims, ${approved.total_charge:,.2f}."
    )
    for name, sha256 in approved.files.items():
        typer.echo(f"  {name}  {sha256}")


def release(
    item: Annotated[str, typer.Argument(help="A worklist item's key, a patient_id, or a refused entry_id.")],
    by: By,
    reason: Annotated[str, typer.Option(help="Why it may go on; it stays with the release.")],
    month: Annotated[str | None, typer.Option(help="The month whose holds and quarantine are meant.")] = None,
    output: Annotated[str | None, typer.Option(help="Where that month's files are.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let a held patient, a refused entry or a work item through."""
    from console.cli import show_json
    from flows.decisions import release as decide

    released = decide(item, month, output, by, reason)
    if as_json:
        show_json(released.model_dump(mode="json"))
        return
    typer.echo(f"{released.released_by} released {', '.join(released.reasons)}.")
    typer.echo(released.next_step)


def correct(
    claim_number: ClaimNumber,
    void: Annotated[bool, typer.Option("--void", help="Take the claim back altogether.")] = False,
    by: Annotated[str | None, typer.Option(help="Who decides; the operator unless given.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it stays with the claim.")] = None,
    as_json: AsJson = False,
) -> None:
    """Correct a claim that its payer has decided.

    This makes a replacement or a void, or says what a reopening must ask for.
    """
    from console.cli import show_json
    from flows.decisions import correct as decide

    corrected = decide(claim_number, void, by, reason)
    if as_json:
        show_json(corrected.model_dump(mode="json"))
    else:
        _show_correction(corrected)


def _show_correction(corrected: Any) -> None:
    """Show what was told and what is right, line by line, and what happens next."""
    from console.pages import money, out, table

    console = out()
    for label, fact in (
        ("Claim", corrected.claim_number),
        ("Payer's number", corrected.payer_claim_number or "not known"),
        ("Payer", f"{corrected.payer_id} ({corrected.payer_kind}), contract {corrected.mac_contract}"),
        ("Date of service", corrected.date_of_service),
        ("Way", corrected.how),
        ("Evidence", f"{corrected.was_evidence_sha256} → {corrected.now_evidence_sha256 or 'none'}"),
    ):
        console.print(f"{label:16} {fact}", soft_wrap=True)
    shown = table("\nLines", "", "Line", "Code", "Units", "Date", "Charge", right=("Units", "Charge"))
    for when, lines in (("was", corrected.was), ("now", corrected.now)):
        for line in lines:
            code = ":".join(part for part in (line["code"], line["modifiers"]) if part)
            place = (line["line_number"], code, line["units"], line["date_of_service"])
            shown.add_row(when, *map(str, place), money(line["charge"]))
    console.print(shown)
    console.print(f"Charge: ${corrected.was_charge:,.2f} → ${corrected.now_charge:,.2f}")
    if corrected.new_claim_number:
        console.print(f"{corrected.new_claim_number} is in its place.")
    console.print(corrected.next_step, soft_wrap=True)


def resend(
    claim_number: ClaimNumber,
    by: By,
    reason: Annotated[str, typer.Option(help="Why; it stays with the claim.")],
    as_json: AsJson = False,
) -> None:
    """Send a claim that was refused without a decision as a new one."""
    from console.cli import show_json
    from flows.decisions import resend as decide

    resent = decide(claim_number, by, reason)
    if as_json:
        show_json(resent.model_dump(mode="json"))
        return
    typer.echo(f"{resent.claim_number} goes again as {resent.new_claim_number}, attempt {resent.attempt}.")
    typer.echo(resent.next_step)


def retry(
    run: Annotated[
        str | None, typer.Argument(help="The run's id; the latest that failed unless given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that failed.

    Only what failed, and what comes after it, is done again.
    """
    from console.cli import prepare_prefect, say, show_json

    prepare_prefect()
    from console.pages import show_month
    from flows.retrying import retry as again
    from schemas.deliveries import SubmissionSummary
    from schemas.shards import MonthSummary

    summary = again(run)
    if summary is None:
        say("The run is scheduled again; a worker goes on with it.")
        return
    if isinstance(summary, MonthSummary) and not as_json:
        show_month(summary)
    elif isinstance(summary, SubmissionSummary) and not as_json:
        _show_submission(summary)
    else:
        show_json(summary.model_dump(mode="json"))
    raise typer.Exit(LOOK if summary.needs_people else DONE)
