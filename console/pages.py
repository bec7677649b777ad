"""Pages: what the command line shows a person at the end of a command, as tables.

`console.cli` calls them with what a flow or a rule returned. Nothing is computed here.
"""

from typing import Any, cast

import polars as pl
from rich.console import Console
from rich.table import Table

from schemas.outputs import Funnel
from schemas.shards import MonthSummary

WIDEST_FINDINGS = 200


# What a table gets where the output is no terminal, such as a file or a log: nothing is cut off there.
WIDTH_OF_NO_TERMINAL = 140


def out() -> Console:
    """Give the console that results are printed on."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OF_NO_TERMINAL)


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """Start a table; the columns named in `right` hold figures."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left")
    return made


def money(amount: str) -> str:
    """Write an exact amount with thousands separators."""
    return f"${pl.Series([amount]).str.to_decimal(scale=2)[0]:,}"


def show_month(summary: MonthSummary) -> None:
    """Show the funnel, the money by contractor, the holds with next steps, and where the files are."""
    funnel = cast(Funnel, summary.funnel)
    console = out()
    heading = "Preview, nothing was written" if summary.is_preview else f"Files: {summary.output}"
    console.print(f"\n[bold]{summary.month}[/bold]  {heading}\n", soft_wrap=True)
    console.print(_funnel_table(funnel))
    console.print(_mac_table(funnel))
    if funnel["holds"]:
        console.print(_holds_table(funnel))
    if funnel["supply_left_out"]:
        console.print(_left_out_table(funnel))
    if funnel["quarantine"]:
        console.print(_quarantine_table(funnel))
    if summary.files:
        console.print(_files_table(summary))
    if summary.corrections:
        changed = f"{summary.corrections} claims already sent have changed: see `rpmclaims worklist`."
        console.print(f"[yellow]{changed}[/yellow]")


def _funnel_table(funnel: Funnel) -> Table:
    shown = table("From patients to money", "", "Count", right=("Count",))
    for label, figure in (
        ("Patients enrolled", f"{funnel['patients_enrolled']:,}"),
        ("… with RPM time", f"{funnel['patients_with_time']:,}"),
        ("… eligible", f"{funnel['patients_eligible']:,}"),
        ("… billed", f"{funnel['patients_billed']:,}"),
        ("Minutes logged", f"{funnel['minutes_logged']:,.0f}"),
        ("… counted", f"{funnel['minutes_counted']:,.0f}"),
        ("… billed", f"{funnel['minutes_billed']:,.0f}"),
        ("… stranded below a step", f"{funnel['minutes_stranded']:,.0f}"),
        ("… over the cap", f"{funnel['minutes_over_cap']:,.0f}"),
        ("Claims", f"{funnel['claims']:,}"),
        ("Charged", money(funnel["charge"])),
        ("Allowed, estimated", money(funnel["allowed_estimate"])),
        ("Medicare pays, estimated", money(funnel["medicare_estimate"])),
        ("Patients owe, estimated", money(funnel["patient_estimate"])),
    ):
        shown.add_row(label, figure)
    return shown


def _mac_table(funnel: Funnel) -> Table:
    figures = ("Billed", "Claims", "Charged", "Allowed", "Medicare")
    shown = table("\nMoney by contractor", "MAC", "Contract", *figures, right=figures)
    for mac in funnel["by_mac"]:
        shown.add_row(
            f"{mac['jurisdiction'] or '?'} {mac['mac_name'] or 'unknown'}",
            mac["mac_contract"] or "?",
            f"{mac['patients_billed']:,}",
            f"{mac['claims']:,}",
            money(mac["charge"]),
            money(mac["allowed_estimate"]),
            money(mac["medicare_estimate"]),
        )
    return shown


def _holds_table(funnel: Funnel) -> Table:
    shown = table("\nHeld, and what to do next", "Reason", "Patients", "Next step", right=("Patients",))
    for hold in sorted(funnel["holds"], key=lambda hold: (hold["is_note"], -hold["patients"])):
        reason = f"{hold['reason']} (note)" if hold["is_note"] else hold["reason"]
        shown.add_row(reason, f"{hold['patients']:,}", hold["next_step"] or "")
    return shown


def _left_out_table(funnel: Funnel) -> Table:
    shown = table("\nDevice periods left out", "Reason", "Periods", "Next step", right=("Periods",))
    for left in funnel["supply_left_out"]:
        shown.add_row(left["reason"], f"{left['periods']:,}", left["next_step"])
    return shown


def _quarantine_table(funnel: Funnel) -> Table:
    shown = table("\nRows in quarantine", "Dataset", "Rule", "Rows", right=("Rows",))
    for refused in funnel["quarantine"]:
        shown.add_row(refused["dataset"], refused["rule"], f"{refused['rows']:,}")
    return shown


def _files_table(summary: MonthSummary) -> Table:
    shown = table("\nClaim files", "File", "Claims", "Charged", "Check", right=("Claims", "Charged"))
    for file in summary.files:
        verdict = "passed" if not file.errors else f"[red]stopped: {file.errors} errors[/red]"
        shown.add_row(
            f"claims/{file.file_name}", f"{file.claim_count:,}", f"${file.total_cents / 100:,.2f}", verdict
        )
    return shown


def show_rates(rows: pl.DataFrame, month: str) -> None:
    """Show the estimates, one row per code, locality, setting and factor."""
    names = {"allowed": "Allowed", "medicare": "Medicare", "patient": "Patient"}
    shown = table(
        f"Estimates for {month}: one unit, deductible met",
        *("Code", "MAC", "Locality", "Setting", "Factor"),
        *names.values(),
        right=tuple(names.values()),
    )
    for row in rows.to_dicts():
        shown.add_row(
            row["code"],
            f"{row['jurisdiction']} {row['mac_contract']}",
            f"{row['locality']} {row['locality_name']}, {row['state']}",
            row["setting"],
            row["factor"],
            *(str(row[name]) for name in names),
        )
    out().print(shown)


def show_findings(file: str, findings: pl.DataFrame) -> None:
    """Show what a check found, worst first, or that it found nothing."""
    if findings.is_empty():
        out().print(f"{file}: no findings.", soft_wrap=True)
        return
    shown = table(f"{file}: {findings.height} findings", "Severity", "Place", "Rule", "What to mend")
    for finding in findings.sort("severity").head(WIDEST_FINDINGS).to_dicts():
        shown.add_row(finding["severity"], _place(finding), finding["rule"], finding["message"])
    out().print(shown)
    if findings.height > WIDEST_FINDINGS:
        out().print(f"… and {findings.height - WIDEST_FINDINGS} more; --json prints them all.")


def _place(finding: dict[str, Any]) -> str:
    parts = (
        ("ST ", finding["transaction"]),
        ("segment ", finding["segment"]),
        ("", finding["loop"]),
        ("", finding["element"]),
    )
    return " ".join(f"{label}{part}" for label, part in parts if part is not None)
