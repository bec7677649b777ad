"""The reader of any file: the JSON document of the contract, its exit code, and no traceback ever."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edi.reader import DOCUMENT, Reading, read_x12, write_tables

FILES = Path(__file__).parent / "files"
KINDS = ("835", "999", "277", "ta1")
SOUND = sorted(path for path in FILES.glob("pass/*") if path.name.startswith(KINDS))

# What each faulty file must be told about, no more and no less.
FAULTS = {
    "277ca_level_without_its_parent.edi": {"hl_parent"},
    "277ca_status_names_no_claim.edi": {"missing_claim_number"},
    "277ca_status_outside_any_level.edi": {"status_without_level"},
    "835_amount_left_out.edi": {"missing_amount"},
    "835_amount_that_is_a_name.edi": {"unreadable_amount"},
    "835_amount_with_three_decimals.edi": {"unreadable_amount"},
    "835_cut_short_inside_a_claim.edi": {
        "cut_short",
        "missing_se",
        "missing_ge",
        "missing_iea",
        "line_balance",
        "claim_balance",
    },
    "835_date_that_is_none.edi": {"unreadable_date"},
    "835_from_the_middle.edi": {"no_isa", "missing_st", "missing_amount", "missing_trace_number"},
    "835_isa_of_the_wrong_length.edi": {"isa_length"},
    "835_isa_without_its_last_element.edi": {"isa_length"},
    "835_latin_letters.edi": {"not_ascii"},
    "835_line_does_not_balance.edi": {"line_balance", "claim_balance"},
    "835_lines_are_paid_more_than_the_claim.edi": {"claim_lines_balance"},
    "835_not_x12_at_all.txt": {"not_x12"},
    "835_payment_does_not_balance.edi": {"payment_balance"},
    "835_same_control_number_twice.edi": {"duplicate_st02"},
    "835_segment_without_id.edi": {"bad_segment_id"},
    "835_segments_between_the_envelopes.edi": {"segment_outside_transaction"},
    "835_service_outside_a_claim.edi": {"line_without_claim", "se01_count", "payment_balance"},
    "835_set_outside_a_group.edi": {"missing_gs"},
    "835_text_around_it.edi": {"text_before_isa"},
    "835_trailers_of_another_file.edi": {
        "se02_control_number",
        "ge01_count",
        "ge02_control_number",
        "iea01_count",
        "iea02_control_number",
    },
    "835_without_isa.edi": {"no_isa"},
    "835_without_trace_number.edi": {"missing_trace_number"},
    "835_without_trailers.edi": {"missing_se", "missing_ge", "missing_iea"},
    "835_wrong_segment_count.edi": {"se01_count"},
    "999_answered_twice.edi": {"code_out_of_place"},
    "999_code_that_is_none.edi": {"unknown_code"},
    "999_without_ik5.edi": {"missing_code"},
    "ta1_without_a_code.edi": {"missing_code"},
}
WARNINGS_ONLY = {"835_latin_letters.edi", "835_text_around_it.edi"}


def read(path: Path) -> Reading:
    return read_x12(path.read_bytes(), path.name)


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_a_sound_file_is_read_without_findings(path: Path) -> None:
    reading = read(path)
    assert reading.findings.is_empty()
    assert reading.exit_code == 0


def test_every_faulty_file_has_its_expectation() -> None:
    assert {path.name for path in FILES.glob("fail/*") if path.name.startswith(KINDS)} == set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_nothing_else(name: str) -> None:
    reading = read(FILES / "fail" / name)
    assert set(reading.findings["rule"]) == FAULTS[name]
    expected = 2 if name.endswith(".txt") else 0 if name in WARNINGS_ONLY else 3
    assert reading.exit_code == expected


def test_the_document_has_the_keys_of_the_contract_in_order() -> None:
    path = SOUND[0]
    document = read(path).to_json()
    assert list(document) == ["file", "sha256", *DOCUMENT]
    assert document["file"] == path.name
    assert document["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_money_is_text_with_cents_quantities_are_plain_and_dates_iso() -> None:
    document = read(FILES / "pass/835_takeback_interest_and_applied_balance.edi").to_json()
    assert document["payments"] == [
        {
            "payment": 1,
            "transaction": 1,
            "payer_name": "EXAMPLE PART B PAYER",
            "payer_id": "05102",
            "payee_name": "EXAMPLE CLINIC",
            "payee_npi": "1234567893",
            "trace_number": "TRACE0001",
            "amount": "23.79",
            "method": "ACH",
            "payment_date": "2026-11-10",
            "is_balanced": True,
        }
    ]
    assert document["lines"] == [
        {
            "line": 1,
            "claim": 1,
            "code": "99457",
            "modifiers": [],
            "charge": "60.00",
            "paid": "48.02",
            "units": "1",
            "line_control_number": "R2610ABCDEFGHIJK2-01",
            "date_of_service": "2026-10-16",
            "is_balanced": True,
        }
    ]
    assert [row["amount"] for row in document["provider_adjustments"]] == ["20.50", "-1.27", "5.00"]
    quantities = read(FILES / "pass/835_two_interchanges_with_their_own_delimiters.edi").to_json()
    assert [row["quantity"] for row in quantities["adjustments"]][:6] == [None, None, "2.5", None, None, "4"]


def test_one_file_may_hold_every_type() -> None:
    data = b"".join(path.read_bytes() for path in SOUND)
    document = read_x12(data, "all").to_json()
    assert {row["type"] for row in document["transactions"]} == {"835", "999", "277"}
    separate = [read(path).to_json() for path in SOUND]
    for name in ("payments", "claims", "lines", "adjustments", "statuses", "acknowledgements"):
        assert len(document[name]) == sum(len(each[name]) for each in separate)
    assert [row["transaction"] for row in document["transactions"]] == list(
        range(1, len(document["transactions"]) + 1)
    )
    assert [row["claim"] for row in document["claims"]] == list(range(1, len(document["claims"]) + 1))
    assert document["findings"] == []


def test_an_empty_file_is_not_x12() -> None:
    reading = read_x12(b"", "empty")
    assert reading.exit_code == 2
    assert reading.to_json()["findings"][0]["rule"] == "not_x12"


def test_tables_are_written_as_they_are_read(tmp_path: Path) -> None:
    source = tmp_path / "all.edi"
    source.write_bytes(b"".join(path.read_bytes() for path in SOUND))
    findings = write_tables(source, tmp_path / "tables")
    reading = read_x12(source.read_bytes(), "all")
    assert findings.equals(reading.findings)
    assert {path.stem for path in (tmp_path / "tables").iterdir()} == set(reading.tables)
    for name, table in reading.tables.items():
        assert pl.read_parquet(tmp_path / "tables" / f"{name}.parquet").equals(table), name


def test_findings_never_carry_what_stands_in_a_name_or_an_address() -> None:
    names = ("SAMPLE", "PAT", "ALEX", "TESTER", "1EG4TE5MK73", "MAIN STREET", "EXAMPLE")
    for path in FILES.glob("fail/*"):
        text = read(path).findings.write_json()
        assert not [name for name in names if f'"{name}' in text or f" {name} " in text]


def _check(data: bytes) -> dict[str, Any]:
    reading = read_x12(data, "fuzz")
    document: dict[str, Any] = json.loads(json.dumps(reading.to_json()))
    assert reading.exit_code in {0, 2, 3}
    assert (reading.exit_code == 0) == (not any(row["severity"] == "error" for row in document["findings"]))
    return document


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(data=st.data())
def test_no_mutilated_file_makes_the_reader_raise(data: st.DataObject) -> None:
    first = data.draw(st.sampled_from(SOUND)).read_bytes()
    second = data.draw(st.sampled_from(SOUND)).read_bytes()
    text = bytearray(first)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(text)))
        match data.draw(st.sampled_from(["cut", "drop", "put", "splice", "repeat"])):
            case "cut":
                del text[at:]
            case "drop":
                del text[at : at + data.draw(st.integers(1, 30))]
            case "put":
                text[at:at] = data.draw(
                    st.binary(min_size=1, max_size=8) | st.sampled_from([b"~", b"*", b":"])
                )
            case "splice":
                start = data.draw(st.integers(0, len(second)))
                text[at:at] = second[start : start + 200]
            case "repeat":
                text[at:at] = text[max(at - 60, 0) : at]
    _check(bytes(text))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "ISA",
                    "GS",
                    "ST",
                    "BPR",
                    "TRN",
                    "CLP",
                    "SVC",
                    "CAS",
                    "PLB",
                    "HL",
                    "STC",
                    "AK2",
                    "IK5",
                    "SE",
                    "TA1",
                ]
            ),
            st.lists(
                st.sampled_from(["", "1", "835", "277", "999", "20", "-1.5", "A:B", "9" * 20, "20261301"])
            ),
        ),
        max_size=30,
    )
)
def test_no_order_of_segments_makes_the_reader_raise(segments: list[tuple[str, list[str]]]) -> None:
    _check("~".join("*".join([tag, *elements]) for tag, elements in segments).encode())
