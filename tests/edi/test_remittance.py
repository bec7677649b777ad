"""The 835: every amount, code and place lands where it belongs, and what does not add up is said."""

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edi.remittance import TABLES, Remittance, read_remittance, read_remittance_file
from edi.segments import Document

PASS = Path(__file__).parent / "files/pass"
FAIL = Path(__file__).parent / "files/fail"


def read(path: Path) -> Remittance:
    return read_remittance(Document.read(path.read_bytes()))


def rows(frame: pl.DataFrame, *columns: str) -> list[tuple[object, ...]]:
    return frame.select(columns).rows()


@pytest.mark.parametrize("path", sorted(PASS.glob("835*")), ids=lambda path: path.stem)
def test_a_sound_remittance_balances_on_every_level(path: Path) -> None:
    remittance = read(path)
    assert remittance.findings.is_empty()
    for name in ("payments", "claims", "lines"):
        assert getattr(remittance, name)["is_balanced"].all()


def test_a_paid_claim_is_read_with_all_that_posting_needs() -> None:
    remittance = read(PASS / "835_paid_with_coinsurance_and_sequestration.edi")
    payment = remittance.payments.row(0, named=True)
    assert payment["payer_name"] == "EXAMPLE PART B PAYER"
    assert payment["payer_id"] == "05102"  # from REF*2U: this payer has no id in N104
    assert (payment["payee_npi"], payment["payee_tax_id"]) == ("1234567893", "123456789")
    assert (payment["trace_number"], payment["trace_payer_id"]) == ("TRACE0001", "1999999999")
    assert (payment["amount"], payment["method"]) == (Decimal("70.60"), "ACH")
    assert (payment["payment_date"], payment["production_date"]) == (date(2026, 11, 10), date(2026, 11, 10))
    claim = remittance.claims.row(0, named=True)
    assert claim["claim_number"] == "R2610ABCDEFGHIJK1"
    assert (claim["charge"], claim["paid"]) == (Decimal(120), Decimal("70.60"))
    assert claim["patient_responsibility"] == Decimal("18.01")
    assert (claim["filing_code"], claim["facility_code"], claim["frequency_code"]) == ("MB", "11", "1")
    assert (claim["received_on"], claim["member_id"]) == (date(2026, 11, 3), "1EG4TE5MK73")
    assert rows(remittance.lines, "code", "modifiers", "paid", "units", "allowed", "line_control_number") == [
        ("99457", [], Decimal("37.64"), Decimal(1), Decimal("48.02"), "R2610ABCDEFGHIJK1-01"),
        ("99458", ["76"], Decimal("32.96"), Decimal(1), Decimal("42.03"), "R2610ABCDEFGHIJK1-02"),
    ]
    assert remittance.lines["date_of_service"].unique().to_list() == [date(2026, 10, 15)]
    assert rows(remittance.adjustments, "claim", "line", "group_code", "reason_code", "amount") == [
        (1, 1, "CO", "45", Decimal("11.98")),
        (1, 1, "CO", "253", Decimal("0.77")),
        (1, 1, "PR", "2", Decimal("9.61")),
        (1, 2, "CO", "45", Decimal("17.97")),
        (1, 2, "CO", "253", Decimal("0.67")),
        (1, 2, "PR", "2", Decimal("8.40")),
    ]
    assert rows(remittance.remarks, "claim", "line", "code") == [
        (1, None, "MA01"),
        (1, None, "MA18"),
        (1, 2, "N381"),
    ]


def test_every_row_says_which_segment_of_the_file_it_is() -> None:
    path = PASS / "835_paid_with_coinsurance_and_sequestration.edi"
    document, remittance = Document.read(path.read_bytes()), read(path)
    tag = dict(zip(document.segments["segment"], document.segments["tag"], strict=True))
    tables = {"payments": "BPR", "claims": "CLP", "lines": "SVC", "adjustments": "CAS", "references": "REF"}
    tables |= {"dates": "DTM", "amounts": "AMT", "names": "NM1"}
    for name, expected in tables.items():
        assert {tag[segment] for segment in getattr(remittance, name)["segment"]} == {expected}


def test_a_line_paid_for_fewer_units_keeps_what_was_submitted() -> None:
    line = read(PASS / "835_three_units_paid_as_two.edi").lines.row(0, named=True)
    assert (line["code"], line["units"]) == ("99458", Decimal(2))
    assert (line["submitted_code"], line["submitted_modifiers"]) == ("99458", ["GT", "95"])
    assert line["submitted_units"] == Decimal(3)
    assert line["date_of_service"] == date(2026, 10, 1)  # the start of a period


def test_a_repeated_modifier_is_shown_twice() -> None:
    data = (PASS / "835_three_units_paid_as_two.edi").read_bytes().replace(b":GT:95", b":76:76::59")
    assert read_remittance(Document.read(data)).lines["submitted_modifiers"].to_list() == [["76", "76", "59"]]


def test_a_reversal_and_its_correction_are_two_claims_of_one_number() -> None:
    remittance = read(PASS / "835_reversal_and_correction_leave_a_forwarding_balance.edi")
    assert rows(remittance.claims, "claim_number", "status_code", "is_reversal", "paid") == [
        ("R2610ABCDEFGHIJK1", "22", True, Decimal("-37.64")),
        ("R2610ABCDEFGHIJK1", "1", False, Decimal("0.00")),
    ]
    assert rows(remittance.provider_adjustments, "reason_code", "reference", "amount") == [
        ("FB", "2630012345678", Decimal("-37.64"))
    ]
    assert remittance.references.filter(qualifier="F8")["value"].to_list() == ["2630012345678"]


def test_each_pair_of_a_provider_adjustment_is_a_row() -> None:
    remittance = read(PASS / "835_takeback_interest_and_applied_balance.edi")
    assert rows(remittance.provider_adjustments, "payment", "provider_id", "reason_code", "amount") == [
        (1, "1234567893", "WO", Decimal("20.50")),
        (1, "1234567893", "L6", Decimal("-1.27")),
        (1, "1234567893", "FB", Decimal("5.00")),
    ]
    assert remittance.provider_adjustments["fiscal_date"].unique().to_list() == [date(2026, 12, 31)]


def test_a_zero_payment_still_carries_its_denial() -> None:
    remittance = read(PASS / "835_zero_pay_denial.edi")
    assert rows(remittance.payments, "amount", "method") == [(Decimal("0.00"), "NON")]
    assert rows(remittance.remarks, "line", "code") == [(1, "N418"), (1, "N193")]


def test_all_six_adjustments_of_a_segment_are_read() -> None:
    remittance = read(PASS / "835_two_interchanges_with_their_own_delimiters.edi")
    first = remittance.adjustments.filter(claim=1)
    assert first["reason_code"].to_list() == ["1", "2", "3", "23", "45", "94"]
    assert first["quantity"].to_list() == [None, None, Decimal("2.5"), None, None, Decimal(4)]
    assert first["line"].null_count() == 6
    assert rows(remittance.names.filter(claim=1), "entity_code", "last_name", "identifier") == [
        ("QC", "SAMPLE", "1EG4TE5MK73"),
        ("74", "SAMPEL", None),
        ("TT", "SUPPLEMENT PLAN", "12345"),
    ]


def test_an_unbalanced_line_is_told_with_its_numbers_and_place() -> None:
    remittance = read(FAIL / "835_line_does_not_balance.edi")
    finding = remittance.findings.filter(rule="line_balance").row(0, named=True)
    assert (finding["loop"], finding["element"]) == ("2110", "SVC03")
    assert (finding["found"], finding["expected"]) == ("37.64", "37.65")
    assert (finding["transaction"], finding["severity"]) == (1, "error")
    assert rows(remittance.lines, "is_balanced") == [(False,), (True,)]
    assert rows(remittance.payments, "is_balanced") == [(True,)]


def test_a_claim_that_is_not_paid_what_its_lines_are_is_told() -> None:
    remittance = read(FAIL / "835_lines_are_paid_more_than_the_claim.edi")
    finding = remittance.findings.filter(rule="claim_lines_balance").row(0, named=True)
    assert (finding["found"], finding["expected"]) == ("60.60", "70.60")


@pytest.mark.parametrize(
    ("name", "table"),
    [("835_amount_with_three_decimals.edi", "lines"), ("835_amount_that_is_a_name.edi", "claims")],
)
def test_nothing_balances_with_an_unreadable_amount(name: str, table: str) -> None:
    remittance = read(FAIL / name)
    assert not getattr(remittance, table)["is_balanced"].all()
    assert "unreadable_amount" in remittance.findings["rule"]


def test_a_finding_shows_an_unreadable_amount_only_when_it_is_a_number() -> None:
    told = read(FAIL / "835_amount_with_three_decimals.edi").findings
    kept = read(FAIL / "835_amount_that_is_a_name.edi").findings
    assert told["found"].to_list() == ["9.615"]
    assert kept["found"].to_list() == [None]
    assert "SAMPLE" not in kept.write_json()


@pytest.mark.parametrize("size", [200, 900, 5_000, 1 << 20])
def test_a_file_in_parts_reads_as_the_whole_does(size: int) -> None:
    data = b"".join(path.read_bytes() for path in sorted(PASS.glob("*")) if path.name[:3] in {"835", "999"})
    whole, in_parts = read_remittance(Document.read(data)), read_remittance_file(data, size)
    for name in TABLES:
        if name != "findings":
            assert getattr(in_parts, name).equals(getattr(whole, name)), name


CENTS = st.integers(-10_000, 10_000)


def _decimal(cents: int) -> str:
    return str(Decimal(cents) / 100)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.lists(CENTS, max_size=7), min_size=1, max_size=3), CENTS), max_size=4),
    st.lists(CENTS, max_size=6),
)
def test_what_is_built_to_balance_balances(
    claims: list[tuple[list[list[int]], int]], withheld: list[int]
) -> None:
    segments, total = [], 0
    for lines, paid_each in claims:
        charges = [paid_each + sum(adjustments) for adjustments in lines]
        segments.append(f"CLP*A*1*{_decimal(sum(charges))}*{_decimal(paid_each * len(lines))}")
        total += paid_each * len(lines)
        for charge, adjustments in zip(charges, lines, strict=True):
            segments.append(f"SVC*HC:99457*{_decimal(charge)}*{_decimal(paid_each)}")
            for start in range(0, len(adjustments), 6):
                triples = "*".join(f"45*{_decimal(cents)}*" for cents in adjustments[start : start + 6])
                segments.append(f"CAS*CO*{triples}")
    if withheld:
        segments.append("PLB*1*20261231*" + "*".join(f"WO:A*{_decimal(cents)}" for cents in withheld))
    text = "~".join(["ST*835*1", f"BPR*I*{_decimal(total - sum(withheld))}", *segments, "SE*1*1", ""])
    remittance = read_remittance(Document.read(text.encode()))
    assert remittance.payments["is_balanced"].to_list() == [True]
    assert remittance.claims["is_balanced"].all()
    assert remittance.lines["is_balanced"].all()
    assert len(remittance.lines) == sum(len(lines) for lines, _ in claims)


def test_a_version_4010_remittance_is_read_as_far_as_it_agrees() -> None:
    data = (PASS / "835_paid_with_coinsurance_and_sequestration.edi").read_bytes()
    old = data.replace(b"005010X221A1", b"004010X091A1").replace(b"*^*00501*", b"*U*00401*")
    remittance = read_remittance(Document.read(old))
    assert remittance.claims.equals(read_remittance(Document.read(data)).claims)


@pytest.mark.parametrize("day", ["20261133", "20260229", "00000101", "0000", "soon"])
def test_a_day_that_is_in_no_calendar_is_told_and_left_out(day: str) -> None:
    data = (PASS / "835_paid_with_coinsurance_and_sequestration.edi").read_bytes()
    remittance = read_remittance(Document.read(data.replace(b"DTM*050*20261103", b"DTM*050*" + day.encode())))
    assert rows(remittance.claims, "received_on") == [(None,)]
    assert rows(remittance.findings, "rule", "element") == [("unreadable_date", "DTM02")]


def test_a_padded_qualifier_says_what_a_plain_one_does() -> None:
    path = PASS / "835_paid_with_coinsurance_and_sequestration.edi"
    padded = (
        path.read_bytes().replace(b"*PR*", b"*PR *").replace(b"*6R*", b"* 6R*").replace(b"*472*", b"*472 *")
    )
    plain, read_padded = read(path), read_remittance(Document.read(padded))
    assert plain.payments["payer_name"].null_count() == 0
    for name in ("payments", "claims", "lines"):
        assert getattr(read_padded, name).equals(getattr(plain, name)), name


def test_a_figure_of_another_shape_leaves_its_neighbours_as_they_are() -> None:
    path = PASS / "835_paid_with_coinsurance_and_sequestration.edi"
    reason = re.search(rb"CAS\*PR\*2\*([0-9.]+)~", path.read_bytes())
    assert reason is not None
    odd = path.read_bytes().replace(reason[0], b"CAS*PR*2*1e2*1.00005~")
    plain, read_odd = read(path), read_remittance(Document.read(odd))
    assert read_odd.adjustments.schema == plain.adjustments.schema
    amounts = [value for value in plain.adjustments["amount"] if str(value) != reason[1].decode()]
    assert [value for value in read_odd.adjustments["amount"] if value is not None] == amounts
    assert read_odd.findings.filter(rule="unreadable_amount").height == len(plain.adjustments) - len(amounts)


def test_tables_hold_nothing_that_only_balancing_needed() -> None:
    remittance = read(PASS / "835_three_units_paid_as_two.edi")
    columns = {column for name in TABLES for column in getattr(remittance, name).columns}
    assert not [name for name in columns if name.endswith(("_text", "_unreadable"))]
    assert not columns & {"adjusted", "lines_paid", "is_readable", "position"}
