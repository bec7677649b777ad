"""Commands about money: what came of the claims, what reached the bank, and what waits for a person.

`console.cli` adds them. They read their arguments, have the books read and judged, and print through
`console.money_pages`; what the figures mean is decided in `billing`.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from schemas.errors import Refused

Month = Annotated[str | None, typer.Option(help="Only this service month, such as 2026-10.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        help="As the books stood on the evening of this day, such as 2026-12-31; today unless given."
    ),
]
DONE, LOOK = 0, 3


class WithFormulas(TyperCommand):
    """A command whose help ends with the formula of every metric."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the formulas; the table they come from is read only when somebody asks."""
        from billing.metrics import definitions

        with formatter.section("Metrics"):
            formatter.write_dl([(metric.name, _formula(metric)) for metric in definitions()])


def _formula(metric: Any) -> str:
    return (
        f"{metric.formula} [{metric.unit}; aim: {metric.target}]"
        if metric.target
        else f"{metric.formula} [{metric.unit}]"
    )


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("reconcile", cls=WithFormulas)(reconcile)
    app.command("worklist")(worklist)
    app.command("bank")(bank)


def reconcile(
    month: Month = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
    workbook: Annotated[
        Path | None, typer.Option(help="Write the whole report to this .xlsx file as well.")
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="Show the metrics with their formulas.")] = False,
) -> None:
    """Show what was billed, expected and paid, and why it differs.

    billed = contractual + sequestration + paid + patient + denied + open (and what an earlier payer or
    another adjustment settled); variance = expected less paid over the lines that were answered, explained
    to the cent by reason. A report as of a day never changes: what is taken back later counts later.
    """
    from billing.deposits import reassociate
    from billing.metrics import metrics as measured
    from billing.reconciliation import reconcile as reconciled
    from console import money_pages
    from console.cli import say, show_json
    from console.queries import read_books

    evening, service_month = _day(as_of), _first_day(month)
    with _ledger() as ledger:
        books = read_books(ledger.engine, evening, _clock().date())
    report = reconciled(books, _reference(), service_month)
    banked = reassociate(books)
    shown = money_pages.Report(report, measured(books, report, banked), banked, books.remittances)
    if workbook is not None:
        from tasks.workbook import workbook as written

        workbook.write_bytes(written(money_pages.sheets(shown), _clock()))
        say(f"The workbook is in {workbook}.")
    if as_json:
        show_json(money_pages.as_document(shown, month))
    elif metrics:
        money_pages.show_metrics(shown)
    else:
        money_pages.show_report(shown, month)


def worklist(as_json: AsJson = False) -> None:
    """Show everything that waits for a person, most money first.

    What has been put right closes by itself.
    """
    from console import money_pages
    from console.cli import show_json
    from console.queries import open_items
    from tasks.worklist import refresh

    with _ledger() as ledger:
        refresh(ledger, _reference(), _clock())
        items = open_items(ledger.engine)
    if as_json:
        show_json(money_pages.worklist_document(items, _clock().date()))
    else:
        money_pages.show_worklist(items)


def bank(
    file: Annotated[
        str | None,
        typer.Argument(help="A bank file: CSV, BAI2 or NACHA; all of RPMCLAIMS_INBOX/bank/ unless given."),
    ] = None,
    inbox: Annotated[
        str | None, typer.Option(help="The inbox whose bank/ folder is read; RPMCLAIMS_INBOX unless given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Match what arrived at the bank with the remittances."""
    from console import money_pages
    from console.cli import show_json
    from schemas.settings import load_settings
    from tasks.bank import bank_files, post_bank_files

    with _ledger() as ledger:
        files, matched = post_bank_files(ledger, bank_files(file, inbox or load_settings().inbox), _clock())
    if as_json:
        show_json(money_pages.bank_document(files, matched))
    else:
        money_pages.show_bank(files, matched)
    is_clean = all(one.problem is None for one in files) and (matched.groups["status"] == "matched").all()
    raise typer.Exit(DONE if is_clean else LOOK)


def _ledger() -> Any:
    """Open the ledger with its tables in place."""
    from schemas.settings import load_settings
    from tasks.ledger import Ledger

    ledger = Ledger(load_settings().ledger_url)
    ledger.upgrade()
    return ledger


def _reference() -> Any:
    from billing.reference.tables import load
    from schemas.settings import load_settings

    return load(load_settings().home / "reference")


def _clock() -> Any:
    from schemas.settings import load_settings

    return load_settings().clock()


def _day(text: str | None) -> date:
    if text is None:
        today = _clock().date()
        assert isinstance(today, date)  # noqa: S101
        return today
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refused(f"A day is written like 2026-12-31; {text!r} is not one.") from None


def _first_day(month: str | None) -> date | None:
    if month is None:
        return None
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        raise Refused(f"A month is written like 2026-10; {month!r} is not one.") from None
