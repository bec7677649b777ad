"""The month's page stands alone, shows totals only, and can be read without seeing its charts."""

import re
from collections import Counter
from datetime import date
from html.parser import HTMLParser
from typing import Any

import pytest

from schemas.addresses import Ignored, Manifest, Pin
from schemas.outputs import Funnel
from schemas.shards import FiledInterchange, MonthSummary
from tasks.report import render_report

VOID = {"meta", "rect", "line", "br"}
MONEY: dict[str, Any] = {
    "charge": "1270.00",
    "allowed_estimate": "1227.80",
    "medicare_estimate": "962.60",
    "patient_estimate": "245.56",
}


class Page(HTMLParser):
    """A page as a reader meets it: its tags, attributes and text, every tag closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def funnel() -> Funnel:
    """Make a small month: two contractors, one hold, one note, one quarantined row."""
    return {
        "month": "2026-10",
        "patients_enrolled": 30,
        "patients_held": 4,
        "patients_with_time": 25,
        "patients_eligible": 20,
        "patients_billed": 15,
        "minutes_logged": 1000.0,
        "minutes_counted": 900.0,
        "minutes_billed": 600.0,
        "minutes_stranded": 280.0,
        "minutes_over_cap": 20.0,
        "logged_seconds": 60000,
        "counted_seconds": 54000,
        "billed_seconds": 36000,
        "stranded_seconds": 16800,
        "over_cap_seconds": 1200,
        "claims": 15,
        "lines": 28,
        "units": 30,
        **MONEY,  # type: ignore[typeddict-item]
        "by_code": [{"code": "99457", "lines": 15, "units": 15, **MONEY}],
        "by_mac": [mac("04412", "JH", "Novitas", 10, "400.00"), mac(None, None, None, 5, "827.80")],
        "holds": [
            hold("NO_CONSENT", 4, is_note=False),
            hold("UNITS_OVER_CAP", 1, is_note=True),
        ],
        "supply_left_out": [{"reason": "HOSPICE", "periods": 7, "next_step": "Bill only what is unrelated."}],
        "minutes_distribution": [band(0, 0, 2, 0), band(10, 19, 8, 5), band(100, None, 15, 10)],
        "units_distribution": [{"pattern": "99457 + 2 x 99458", "claims": 15, "allowed_estimate": "1227.80"}],
        "sources": [
            {
                "dataset": "time-entries",
                "rows_read": 1234,
                "rows_accepted": 1230,
                "rows_quarantined": 3,
                "repeats_dropped": 1,
                "rows_elsewhere": 0,
            }
        ],
        "quarantine": [{"dataset": "time-entries", "rule": "no_time_zone", "rows": 3}],
        "extra_columns": {"patients": ["<script>alert(1)</script>"]},
    }


def mac(contract: str | None, jurisdiction: str | None, name: str | None, patients: int, allowed: str) -> Any:
    people = {"patients_with_time": patients, "patients_eligible": patients, "patients_billed": patients}
    named = {"mac_contract": contract, "jurisdiction": jurisdiction, "mac_name": name}
    return {**named, **people, "claims": patients, "lines": patients, **MONEY, "allowed_estimate": allowed}


def hold(reason: str, patients: int, *, is_note: bool) -> Any:
    step = f"Do something about {reason.lower()}."
    return {
        "reason": reason,
        "is_note": is_note,
        "patients": patients,
        "counted_minutes": 1.5,
        "next_step": step,
    }


def band(first: int, last: int | None, patients: int, billed: int) -> Any:
    minutes = {"counted_minutes": 1.0, "stranded_minutes": 2.5}
    return {
        "minutes_from": first,
        "minutes_to": last,
        "patients": patients,
        "patients_billed": billed,
        **minutes,
    }


def summary(**changed: Any) -> MonthSummary:
    files = [filed(7, errors=0), filed(8, errors=2)]
    facts: dict[str, Any] = {
        "month": "2026-10",
        "source": "s3://practice/rpm",
        "output": "s3://practice/out/2026-10",
    }
    facts |= {
        "is_preview": False,
        "needs_people": True,
        "funnel": dict(funnel()),
        "files": files,
        "corrections": 3,
    }
    return MonthSummary(**(facts | changed))


def filed(control_number: int, *, errors: int) -> FiledInterchange:
    return FiledInterchange(
        interchange_id=control_number,
        file_name=f"NOVITAS_T_{control_number:09d}.837",
        receiver_id="NOVITAS",
        control_number=control_number,
        claim_count=10,
        total_cents=123456,
        sha256=None if errors else "ab" * 32,
        size=None if errors else 1000,
        errors=errors,
    )


def manifest(objects: int = 2) -> Manifest:
    pins = tuple(
        Pin(
            dataset="patients",
            key=f"patients/part-{n}.csv",
            uri="s3://x",
            version="etag",
            size=10,
            sha256="cd" * 32,
        )
        for n in range(objects)
    )
    ignored = (Ignored(key="patients/notes.docx", reason="unknown kind of file"),)
    return Manifest(source="s3://practice/rpm", month=date(2026, 10, 1), pins=pins, ignored=ignored)


def page(**changed: Any) -> Page:
    return Page(render_report(summary(**changed), manifest()))


def nothing() -> Funnel:
    """Make the funnel of a month in which nothing arrived."""
    empty: dict[str, Any] = {name: type(value)() for name, value in funnel().items()}
    return {**empty, **dict.fromkeys(MONEY, "0.00")}  # type: ignore[typeddict-item]


def test_the_page_is_well_formed_and_needs_nothing_from_outside() -> None:
    shown = page()
    assert not {"script", "link", "img", "iframe", "object", "form"} & shown.tags.keys()
    assert not [
        found for found in shown.attributes if found[1] in ("src", "href") or found[1].startswith("on")
    ]
    assert "url(" not in render_report(summary(), manifest())
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in shown.attributes


def test_text_from_outside_is_shown_as_text() -> None:
    assert "<script>" not in render_report(summary(), manifest())
    assert "<script>alert(1)</script>" in page().text


def test_the_same_month_gives_the_same_bytes() -> None:
    assert render_report(summary(), manifest()) == render_report(summary(), manifest())


@pytest.mark.parametrize(
    "said",
    [
        "October 2026",
        "$1,227.80 of $1,270.00 charged",
        "15 claims, 28 lines",
        "files stopped: 1, claims changed after sending: 3, patients held: 4, rows in quarantine: 3",
        "30 patients were enrolled, 15 are billed and 4 are held.",
        "1,000 minutes were logged, 900 of them count and 600 are billed.",
        "NO_CONSENT 4 1.50 Do something about no_consent.",
        "no_time_zone 3",
        "NOVITAS_T_000000007.837 NOVITAS 000000007 10 $1,234.56 passed abababababababab",
        "stopped, errors: 2",
        "time-entries 1,234 1,230 3 1 0",
        "patients/part-1.csv 10 cdcdcdcdcdcdcdcd",
        "unknown kind of file",
        "99457 + 2 x 99458",
    ],
)
def test_the_page_says_what_finance_asks_for(said: str) -> None:
    assert said in page().text


def test_where_the_logged_minutes_went_adds_up_to_all_of_them() -> None:
    table = page().text.split("Of all logged Why ")[1].split("How far the minutes reach")[0]
    shares = [float(share) for share in re.findall(r"([\d.]+) %", table)]
    assert shares == [60.0, 28.0, 2.0, 10.0]
    assert "100.00" in table


def test_contractors_stand_in_the_order_of_their_money_and_an_unknown_one_is_a_dash() -> None:
    text = page().text
    assert text.index("$827.80") < text.index("$400.00")
    assert "JH · Novitas · 04412" in text


def test_notes_are_kept_apart_from_what_stops_a_claim() -> None:
    stops, notes = page().text.split("Noted: no reason to wait")
    assert "UNITS_OVER_CAP" not in stops
    assert "NO_CONSENT" not in notes


def test_every_chart_has_a_name_and_a_table_beside_it() -> None:
    shown = page()
    assert shown.tags["svg"] == 8
    assert shown.tags["table"] > shown.tags["svg"]
    assert shown.tags["caption"] == shown.tags["table"]
    ids = Counter(value for _, name, value in shown.attributes if name == "id")
    named = [value for tag, name, value in shown.attributes if tag == "svg" and name == "aria-labelledby"]
    assert set(ids.values()) == {1}
    assert len(named) == shown.tags["svg"]
    assert set(named) <= ids.keys()


def test_the_longest_bar_fills_its_chart_and_the_others_keep_their_share() -> None:
    text = render_report(summary(), manifest())
    chart = text.split("Patients at each step</title>")[1].split("</svg>")[0]
    widths = [float(width) for width in re.findall(r'class="part part-1"[^>]* width="([\d.]+)"', chart)]
    assert widths == [480, 400, 320, 240]


def test_columns_are_stacked_from_the_same_foot() -> None:
    text = render_report(summary(), manifest())
    chart = text.split("Patients by counted minutes</title>")[1].split("</svg>")[0]
    parts = re.findall(r'part-(\d)"[^>]* y="([\d.]+)"[^>]* height="([\d.]+)"', chart)
    tops = [(part, float(top), float(top) + float(height)) for part, top, height in parts]
    # Nobody in the first band is billed; the tallest column is 170 high and stands on 194.
    assert [part for part, _, _ in tops] == ["2", "1", "2", "1", "2"]
    assert [foot for part, _, foot in tops if part == "1"] == pytest.approx([194, 194], abs=0.1)
    assert tops[-1][1] == pytest.approx(24, abs=0.1)
    assert tops[-1][2] == pytest.approx(tops[-2][1], abs=0.1)


def test_a_month_of_nothing_is_a_page_that_says_so() -> None:
    empty = Manifest(source="s3://practice/rpm", month=date(2026, 10, 1), pins=())
    quiet = Page(render_report(summary(funnel=dict(nothing()), files=[], corrections=0), empty))
    for said in (
        "Nobody is held.",
        "There is nothing to note.",
        "No file was written.",
        "nothing is waiting",
    ):
        assert said in quiet.text
    assert "Every row that arrived could be used." in quiet.text


def test_a_preview_says_that_nothing_was_filed() -> None:
    assert "nothing of this was filed" in page(is_preview=True).text
    assert "nothing of this was filed" not in page().text


def test_a_long_list_of_objects_is_cut_and_says_so() -> None:
    shown = Page(render_report(summary(), manifest(objects=150)))
    assert "150 objects of s3://practice/rpm" in shown.text
    assert "The first 100 are shown" in shown.text
    assert "patients/part-99.csv" in shown.text
    assert "patients/part-100.csv" not in shown.text
