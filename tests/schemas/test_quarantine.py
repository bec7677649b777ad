"""Each raw row lands in exactly one place, with every reason it gives."""

import csv
import re
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.datasets import DATASETS
from schemas.quarantine import QUARANTINE_SCHEMA, RawPart, screen
from schemas.reasons import REASONS
from tests.schemas.made_rows import GOOD, NOW, PATIENTS, raw, reasons, screened

CASES = list(csv.DictReader((Path(__file__).parent / "cases" / "quarantine.csv").read_text().splitlines()))


@pytest.mark.parametrize("dataset", GOOD)
def test_a_good_row_is_accepted_with_the_types_of_its_dataset(dataset: str) -> None:
    found = screened(dataset, raw(dataset))
    assert reasons(found) == []
    assert dict(found.accepted.schema) == DATASETS[dataset].accepted_schema
    assert dict(found.rejected.schema) == DATASETS[dataset].rejected_schema
    assert dict(found.quarantined.schema) == QUARANTINE_SCHEMA
    assert found.accepted.select("object", "row_number").rows() == [("x.csv", 1)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['dataset']}.{case['column']}={case['cell']}")
def test_a_cell_is_accepted_or_refused_as_its_case_says(case: dict[str, str]) -> None:
    dataset = case["dataset"]
    found = screened(dataset, raw(dataset, {case["column"]: case["cell"]}, {}))
    rules = [(column, rule) for _, column, rule in reasons(found)]
    assert rules == ([(case["column"], case["rule"])] if case["rule"] else [])
    # The good row beside it is never condemned.
    assert found.accepted["row_number"].to_list() == ([2] if case["rule"] else [1, 2])


def test_every_rule_has_a_case_or_a_test_of_its_own() -> None:
    elsewhere = {
        *("in_the_future", "duplicate_id", "unreadable_text", "unreadable_row"),
        *("unreadable_file", "missing_column"),
    }
    assert {case["rule"] for case in CASES} - {""} | elsewhere == set(REASONS)


@pytest.mark.parametrize(
    ("late", "rules"),
    [(timedelta(0), []), (timedelta(microseconds=1), [("ended_at", "in_the_future")])],
)
def test_an_entry_may_end_now_and_not_later(late: timedelta, rules: list[tuple[str, str]]) -> None:
    times = {
        "started_at": (NOW - timedelta(minutes=5)).isoformat(),
        "ended_at": (NOW + late).isoformat(),
    }
    found = screened("time-entries", raw("time-entries", times))
    assert [(column, rule) for _, column, rule in reasons(found)] == rules


def test_one_rule_broken_by_two_columns_is_one_row_that_names_both() -> None:
    found = screened("time-entries", raw("time-entries", {"program": "X", "activity": "Y", "method": ""}))
    assert reasons(found) == [("E1", "program, activity", "unknown_code"), ("E1", "method", "missing")]
    message = found.quarantined["message"][0]
    assert "program holds an unknown code: 'X'" in message
    assert "activity holds an unknown code: 'Y'" in message


def test_a_row_without_its_key_is_named_by_its_number() -> None:
    found = screened("time-entries", raw("time-entries", {}, {"entry_id": " "}))
    assert reasons(found) == [("row 2", "entry_id", "missing")]
    assert reasons(screened("charges", raw("charges", {"amount": "x"}))) == [
        ("row 1", "amount", "unreadable_number")
    ]


def test_defaults_stand_for_empty_cells_and_absent_columns() -> None:
    frame = raw("payers", {"usage": "", "count_messages": None}).drop(
        "add_on_lines", "repeat_modifier", "max_claims_per_transaction", "bill_device_supply"
    )
    found = screened("payers", frame)
    (payer,) = found.accepted.to_dicts()
    assert payer["usage"] == "T"
    assert payer["count_messages"] is True
    assert payer["add_on_lines"] == "per_unit"
    assert payer["repeat_modifier"] is None
    assert payer["max_claims_per_transaction"] == 5000
    assert payer["bill_device_supply"] is False
    assert found.absent_columns == (
        "add_on_lines",
        "repeat_modifier",
        "max_claims_per_transaction",
        "bill_device_supply",
    )


def test_an_object_without_a_needed_column_is_refused_once_and_its_ids_are_known() -> None:
    found = screened("patients", raw("patients", {}, {"patient_id": "P2"}).drop("last_name", "sex"))
    assert reasons(found) == [(None, "last_name, sex", "missing_column")]
    assert found.accepted.height == 0
    assert found.rejected["patient_id"].to_list() == ["P1", "P2"]


def test_an_object_without_a_column_that_may_be_empty_is_read() -> None:
    found = screened("patients", raw("patients").drop("died_on", "consent_date"))
    assert found.accepted.select("died_on", "consent_date").rows() == [(None, None)]
    assert found.absent_columns == ("consent_date", "died_on")


def test_an_unreadable_file_is_one_row_without_key_and_column() -> None:
    part = RawPart(pl.DataFrame(), pl.Series([], dtype=pl.Int64), fault="unreadable_file")
    found = screen(part, DATASETS["patients"], object_key="p.csv", now=NOW)
    assert found.quarantined.select("dataset", "object", "row_key", "column", "rule").rows() == [
        ("patients", "p.csv", None, None, "unreadable_file")
    ]
    assert found.accepted.height == found.rejected.height == 0


def test_rows_that_could_not_be_split_are_counted_beside_the_others() -> None:
    part = RawPart(raw("charges"), pl.Series([2]), broken_rows=(1, 3))
    found = screen(part, DATASETS["charges"], object_key="c.csv", now=NOW)
    assert reasons(found) == [("row 1", None, "unreadable_row"), ("row 3", None, "unreadable_row")]
    assert (found.accepted.height, found.rejected.height) == (1, 2)


def test_codes_get_back_the_zeros_that_spreadsheets_drop() -> None:
    found = screened("billing-providers", raw("billing-providers", {"mac_contract": "4412", "locality": "1"}))
    assert found.accepted.select("mac_contract", "locality").rows() == [("04412", "01")]
    assert (
        screened("patients", raw("patients", {"place_of_service": "x"})).accepted["place_of_service"][0]
        == "x"
    )


def test_money_and_dates_keep_their_value() -> None:
    (charge,) = screened("charges", raw("charges", {"amount": "75.1"})).accepted.to_dicts()
    assert charge["amount"] == Decimal("75.10")
    assert charge["effective_from"] == date(2026, 1, 1)


@pytest.mark.parametrize("dataset", ["patients", "practitioners"])
def test_no_message_repeats_a_cell_of_a_dataset_with_names(dataset: str) -> None:
    secret = "Quillfeather"
    frame = raw(
        dataset, dict.fromkeys(GOOD[dataset], secret), {**dict.fromkeys(GOOD[dataset], ""), "npi": ""}
    )
    assert not any(secret in message for message in screened(dataset, frame).quarantined["message"])


@pytest.mark.parametrize("cell", ["=cmd|calc", "<script>", "x" * 41, "Ünïcode", "{column}"])
def test_a_cell_that_might_do_harm_is_not_quoted(cell: str) -> None:
    (message,) = screened("time-entries", raw("time-entries", {"program": cell})).quarantined["message"]
    assert message.startswith("program holds an unknown code; expected RPM, RTM")


def test_messages_have_no_holes_and_end_like_sentences() -> None:
    frame = raw("time-entries", *({column: "?!"} for column in GOOD["time-entries"]))
    found = screened("time-entries", frame).quarantined["message"]
    assert all(re.search(r"\.$", message) and "{" not in message for message in found)


CELLS: dict[str, st.SearchStrategy[str | None]] = {
    name: st.sampled_from([cell, None, "", "?", "2026-10-05T09:30:00", "2026-10-05T09:30:00Z", "RPM", "1"])
    for name, cell in GOOD["time-entries"].items()
}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.fixed_dictionaries(CELLS), max_size=8), st.sets(st.integers(1, 12), max_size=3))
def test_each_raw_row_lands_in_exactly_one_place(rows: list[dict[str, Any]], broken: set[int]) -> None:
    places = [number for number in range(1, 30) if number not in broken][: len(rows)]
    frame = raw("time-entries", *rows) if rows else raw("time-entries").head(0)
    part = RawPart(frame, pl.Series(places, dtype=pl.Int64), broken_rows=tuple(sorted(broken)))
    found = screen(part, DATASETS["time-entries"], object_key="x", now=NOW, patient_ids=PATIENTS)
    accepted, rejected = found.accepted["row_number"].to_list(), found.rejected["row_number"].to_list()
    assert sorted(accepted + rejected) == sorted([*places, *broken])
    # Every refused row has its reasons in the quarantine, each rule once; no accepted row has any.
    listed = found.quarantined.select("row_key", "rule")
    assert set(listed["row_key"]) == set(found.rejected["row_key"])
    numbered = found.quarantined.filter(pl.col("row_key").str.starts_with("row "))
    assert numbered.select("row_key", "rule").is_unique().all()


@pytest.mark.parametrize("bad", [[0], [3], [0, 3], []])
def test_rows_in_many_chunks_are_screened_like_rows_in_one(bad: list[int]) -> None:
    # Polars 2.1 panics when it formats filtered columns that have empty chunks.
    changes: list[dict[str, Any]] = [
        {"entry_id": f"E{number}", **({"program": "?", "live_interaction": "?"} if number in bad else {})}
        for number in range(4)
    ]
    chunks = pl.concat([raw("time-entries", change) for change in changes], rechunk=False)
    numbers = pl.concat([pl.Series([number]) for number in range(1, 5)], rechunk=False)
    found = screen(
        RawPart(chunks, numbers), DATASETS["time-entries"], object_key="x.csv", now=NOW, patient_ids=PATIENTS
    )
    alike = screened("time-entries", raw("time-entries", *changes))
    assert chunks.n_chunks() == 4
    assert found.accepted.equals(alike.accepted)
    assert found.rejected.equals(alike.rejected)
    assert found.quarantined.equals(alike.quarantined)
