"""Report: report.html, the month at a glance for the people who answer for its money.

Made from the month's totals and pins, in the sections of `tasks.report_sections`. One file without
scripts or outside parts, the same to the byte for the same month. Totals only: a patient, an entry or a
claim never appears. Where a figure comes from is `billing.funnel`'s business.
"""

from typing import cast

from schemas.addresses import Manifest
from schemas.outputs import Funnel
from schemas.shards import MonthSummary
from tasks import report_sections as sections
from tasks.page import Figure, count_of, dollars_of, page_template


def render_report(summary: MonthSummary, manifest: Manifest) -> str:
    """Lay the month out as one self-contained HTML page."""
    funnel = cast(Funnel, summary.funnel)
    return page_template("report.html.jinja").render(
        title=f"{manifest.month:%B %Y}",
        is_preview=summary.is_preview,
        headline=_headline(funnel, summary),
        sections=[
            sections.patients(funnel),
            sections.minutes(funnel),
            sections.ladder(funnel),
            sections.contractors(funnel),
            sections.claims(funnel),
            sections.held(funnel),
            sections.noted(funnel),
            sections.supply_left_out(funnel),
            sections.quarantine(funnel),
            sections.files(summary.files),
            sections.arrivals(funnel),
            sections.sources(manifest),
        ],
    )


def _headline(funnel: Funnel, summary: MonthSummary) -> list[Figure]:
    """Choose the figures a reader should take away."""
    waiting = {
        "files stopped": sum(file.errors > 0 for file in summary.files),
        "claims changed after sending": summary.corrections,
        "patients held": funnel["patients_held"],
        "rows in quarantine": sum(source["rows_quarantined"] for source in funnel["sources"]),
    }
    told = ", ".join(f"{what}: {count_of(count)}" for what, count in waiting.items() if count)
    charged = f"of {dollars_of(funnel['charge'])} charged"
    carried = f"{count_of(funnel['claims'])} claims, {count_of(funnel['lines'])} lines"
    return [
        Figure("Allowed, estimated", dollars_of(funnel["allowed_estimate"]), charged),
        Figure(
            "Medicare pays, estimated", dollars_of(funnel["medicare_estimate"]), "after 2 % sequestration"
        ),
        Figure("Patients owe, estimated", dollars_of(funnel["patient_estimate"]), "with the deductible met"),
        Figure("Patients billed", count_of(funnel["patients_billed"]), carried),
        Figure("Needs people", "Yes" if told else "No", told or "nothing is waiting", bool(told)),
    ]
