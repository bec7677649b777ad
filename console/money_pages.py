"""Money pages: the reconciliation, the worklist and the bank as tables, JSON documents and sheets.

`console.commands_money` calls them with finished frames. The keys of a document are the words of its tables.
Nothing is computed here beyond adding up what is shown, and nothing shows a name or a member id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl

from billing.deposits import Reassociation
from billing.reconciliation import FIGURES, Reconciliation, totals_by
from billing.worklist import incidents
from console.pages import out, table
from schemas.columns import MONEY

NOTHING: Final = "\N{EN DASH}"
# A terminal shows so many rows of a table; --json and the workbook have them all.
ROWS_SHOWN: Final = 40
BY: Final = {"month": "month", "mac": "mac_contract", "code": "code", "payer": "payer_id"}
SHOWN: Final = (
    "billed",
    "expected",
    "allowed",
    "paid",
    "patient",
    "denied",
    "taken_back",
    "open",
    "variance",
)
LINE: Final = (
    *("claim_number", "line_number", "month", "mac_contract", "locality", "payer_id", "code", "units"),
    *(
        "paid_units",
        "date_of_service",
        "state",
        "answer",
        "billed",
        "expected",
        "allowed_estimate",
        "allowed",
    ),
    *("paid", "patient", "deductible", "coinsurance", "sequestration", "contractual", "prior_payer"),
    *("denied", "taken_back", "open", "variance", "reason", "explanation", "underpaid", "flag"),
)
SET: Final = (
    *("status", "how", "trace_number", "company_id", "remittances", "deposits", "paid", "deposited"),
    *("difference", "paid_on", "deposited_on"),
)
REMITTANCE: Final = (
    *("payer_name", "payer_id", "payee_npi", "trace_number", "originator_id", "method", "payment_date"),
    *("amount", "state", "difference"),
)


@dataclass(frozen=True)
class Report:
    """Everything a reconciliation shows."""

    report: Reconciliation
    metrics: pl.DataFrame
    banked: Reassociation
    remittances: pl.DataFrame

    def lines(self) -> pl.DataFrame:
        """Return the lines as they are shown."""
        return self.report.lines.select(LINE).with_columns(_month())

    def denials(self) -> pl.DataFrame:
        """Add the denied lines up by their codes, most money first."""
        denied = self.report.lines.filter(pl.col("answer") == "denied")
        by_codes = denied.group_by(codes=pl.col("codes").list.join(" "), code="code").agg(
            lines=pl.len(), denied=pl.col("denied").sum(), expected=pl.col("expected").sum()
        )
        return by_codes.sort("expected", "codes", descending=[True, False])

    def reasons(self) -> pl.DataFrame:
        """Add the parts of all variances up by reason, the largest first."""
        by_reason = self.report.bridge.group_by("reason").agg(lines=pl.len(), amount=pl.col("amount").sum())
        return by_reason.sort(pl.col("amount").abs(), "reason", descending=[True, False])


def _month() -> pl.Expr:
    return pl.col("month").dt.strftime("%Y-%m")


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows whose decimals and dates are text."""
    dates = pl.selectors.date().dt.strftime("%Y-%m-%d")
    exact = pl.selectors.decimal().cast(pl.String)
    return frame.with_columns(dates, exact).to_dicts()


def as_document(shown: Report, month: str | None) -> dict[str, Any]:
    """Return the whole report as one JSON object."""
    lines = shown.report.lines
    differing = shown.lines().filter(pl.col("variance") != 0)
    return {
        "as_of": shown.report.as_of.isoformat(),
        "month": month,
        "totals": _rows(totals_by(lines))[0],
        **{f"by_{name}": _rows(_by(lines, dimension)) for name, dimension in BY.items()},
        "summary": _rows(shown.report.summary.with_columns(_month())),
        "variance": _rows(shown.reasons()),
        "lines": _rows(differing),
        "parts": _rows(shown.report.bridge),
        "denials": _rows(shown.denials()),
        "aging": _rows(shown.report.aging),
        "metrics": _rows(shown.metrics),
        "provider_level": _rows(shown.report.provider_level),
        "remittances": _rows(shown.remittances.select(REMITTANCE)),
        "deposits": _rows(shown.banked.groups.select(SET)),
    }


def sheets(shown: Report) -> dict[str, pl.DataFrame]:
    """Return the sheets of the workbook, by their names."""
    return {
        "summary": shown.report.summary.with_columns(_month()),
        "lines": shown.lines(),
        "variance": shown.report.bridge,
        "aging": shown.report.aging,
        "metrics": shown.metrics,
        "denials": shown.denials(),
        "remittances": shown.remittances.select(REMITTANCE),
        "deposits": shown.banked.groups.select(SET),
    }


def _by(lines: pl.DataFrame, dimension: str) -> pl.DataFrame:
    added = totals_by(lines, dimension)
    return added.with_columns(_month()) if dimension == "month" else added


def show_report(shown: Report, month: str | None) -> None:
    """Show the totals four ways, why payments differ, how old the rest is, and what the bank says."""
    lines = shown.report.lines
    heading = month or "All months"
    out().print(f"\n[bold]{heading}[/bold]  as of {shown.report.as_of.isoformat()}\n", soft_wrap=True)
    if lines.is_empty():
        out().print("No claim has been made yet.")
        return
    for name, dimension in BY.items():
        _show(f"By {name if name != 'mac' else 'MAC'}", _by(lines, dimension), (dimension, "lines", *SHOWN))
    _show("In total", _upright(totals_by(lines)), ("figure", "amount"))
    _show("Why payments differ from the estimate", shown.reasons(), ("reason", "lines", "amount"))
    flagged = (
        shown.lines().filter(pl.col("flag").is_not_null()).sort(pl.col("underpaid").abs(), descending=True)
    )
    columns = (
        "claim_number",
        "line_number",
        "code",
        "allowed_estimate",
        "allowed",
        "underpaid",
        "explanation",
    )
    _show("Paid too little, or too much (negative)", flagged, columns)
    _show(
        "Age of what is open", _aging(shown.report.aging), ("clock", "party", *_buckets(shown.report.aging))
    )
    _show(
        "Outside any claim (positive: withheld)",
        shown.report.provider_level,
        ("account", "entries", "amount"),
    )
    unfit = shown.banked.groups.filter(pl.col("status") != "matched")
    _show(
        "Payments and deposits that do not fit",
        unfit,
        ("status", "trace_number", "paid", "deposited", "difference"),
    )


def _upright(row: pl.DataFrame) -> pl.DataFrame:
    """Turn one row into a column, so that many figures fit a screen."""
    return pl.DataFrame(
        {"figure": FIGURES, "amount": [row[name][0] for name in FIGURES]}, schema_overrides={"amount": MONEY}
    )


def _buckets(aging: pl.DataFrame) -> list[str]:
    return aging["bucket"].unique(maintain_order=True).to_list()


def _aging(aging: pl.DataFrame) -> pl.DataFrame:
    return aging.pivot("bucket", index=["clock", "party"], values="amount")


def show_metrics(shown: Report) -> None:
    """Show every metric with its value, what is aimed at, and its formula."""
    made = table("Metrics", "metric", "value", "aim", "formula", right=("value",))
    for row in shown.metrics.to_dicts():
        made.add_row(row["metric"], _figure(row["value"], row["unit"]), row["target"], row["formula"])
    out().print(made)


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return NOTHING
    return {"share": f"{value:.1%}", "dollars": f"${value:,.2f}", "days": f"{value:,.1f}"}.get(
        unit, f"{value:,.2f}"
    )


def worklist_document(items: pl.DataFrame, as_of: date) -> dict[str, Any]:
    """Return the worklist as one JSON object: incidents, and the items they are made of."""
    names = (
        *(
            "kind",
            "key",
            "incident_key",
            "claim_number",
            "reference",
            "money",
            "deadline",
            "owner",
            "retry_class",
        ),
        *("action", "reason", "opened_at"),
    )
    waiting = items.select(names).rename({"retry_class": "class", "incident_key": "incident"})
    opened = pl.col("opened_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "as_of": as_of.isoformat(),
        "count": items.height,
        "money": str(items["money"].sum() or "0.00"),
        "incidents": _rows(incidents(items)),
        "items": _rows(waiting.with_columns(opened)),
    }


def show_worklist(items: pl.DataFrame) -> None:
    """Show the incidents, most money first."""
    if items.is_empty():
        out().print("Nothing waits for a person.")
        return
    first = pl.concat_list("claims", "references").list.first()
    folded = incidents(items).with_columns(
        owner=pl.concat_str("owner", pl.format(" ({})", "class").fill_null("")),
        what=pl.concat_str(pl.format("{}: ", first).fill_null(""), "reason", pl.lit(" "), "action"),
    )
    total = items["money"].sum() or 0
    out().print(f"\n[bold]{items.height:,} items[/bold], ${total:,}, in {folded.height:,} incidents\n")
    columns = ("money", "items", "kind", "deadline", "owner", "what")
    _show("Most money first", folded, columns)


def bank_document(files: Sequence[Any], banked: Reassociation) -> dict[str, Any]:
    """Return what a bank run did as one JSON object."""
    counts = banked.groups.group_by("status").agg(count=pl.len(), difference=pl.col("difference").sum())
    return {
        "files": [vars(file) for file in files],
        "statuses": _rows(counts.sort("status")),
        "unapplied_cash": str(banked.unapplied),
        "deposits": _rows(banked.groups.select(SET)),
    }


def show_bank(files: Sequence[Any], banked: Reassociation) -> None:
    """Show what was read and what does not fit."""
    read = pl.DataFrame([vars(file) for file in files], schema={
        "name": pl.String, "kind": pl.String, "deposits": pl.Int64, "new": pl.Int64, "problem": pl.String,
    }, orient="row")  # fmt: skip
    _show("Bank files", read, ("name", "kind", "deposits", "new", "problem"))
    counts = banked.groups.group_by("status").agg(
        sets=pl.len(), paid=pl.col("paid").sum(), deposited=pl.col("deposited").sum()
    )
    _show("Payments and deposits", counts.sort("status"), ("status", "sets", "paid", "deposited"))
    unfit = banked.groups.filter(pl.col("status") != "matched")
    _show(
        "What does not fit",
        unfit,
        ("status", "trace_number", "company_id", "paid", "deposited", "difference"),
    )
    out().print(f"Unapplied cash: ${banked.unapplied:,}")


def _show(title: str, frame: pl.DataFrame, columns: Sequence[str]) -> None:
    """Show a frame as a table, figures to the right; one without rows is left out."""
    if frame.is_empty():
        return
    figures = tuple(name.replace("_", " ") for name in columns if frame.schema[name].is_numeric())
    out().print(f"\n[bold]{title}[/bold]")
    made = table("", *(name.replace("_", " ") for name in columns), right=figures)
    for row in frame.select(columns).head(ROWS_SHOWN).rows():
        made.add_row(*(_cell(value) for value in row))
    out().print(made)
    if frame.height > ROWS_SHOWN:
        out().print(f"… and {frame.height - ROWS_SHOWN:,} more; --json has them all.")


def _cell(value: Any) -> str:
    return "" if value is None else str(value) if isinstance(value, str | date | bool) else f"{value:,}"
