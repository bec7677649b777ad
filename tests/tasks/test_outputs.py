"""The month's files are what the contract says, to the column, the cent and the byte."""

import csv
import io
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.columns import MONEY
from schemas.outputs import HOLDS, LINES, QUARANTINE
from tasks.outputs import (
    write_funnel,
    write_holds,
    write_lines,
    write_quarantine,
    write_supply_left_out,
)
from tasks.storage import Storage, storage_at
from tests.billing import made_month

# Word for word from the contract.
CONTRACT_LINES = (
    "claim_number,line_number,patient_id,billing_npi,rendering_npi,payer_id,mac_contract,locality,code,"
    "modifiers,units,date_of_service,place_of_service,charge,allowed_estimate,medicare_estimate,"
    "patient_estimate,counted_seconds"
)
CONTRACT_HOLDS = "patient_id,reason,message,next_step,counted_seconds"
CONTRACT_QUARANTINE = "dataset,object,row_key,column,rule,message"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return storage_at(str(tmp_path / "2026-10"))


def text_of(storage: Storage, key: str) -> str:
    return storage.read(key).decode()


def lines() -> pl.DataFrame:
    """Make two lines of two claims, in the wrong order and with a column of ours."""
    columns = {
        "line_control_number": ["B-01", "A-01"],
        "claim_number": ["R2610BBBBBBBBBBB1", "R2610AAAAAAAAAAA1"],
        "line_number": [1, 1],
        "patient_id": ["P2", "P1"],
        "billing_npi": ["1234567893"] * 2,
        "rendering_npi": ["1234567893"] * 2,
        "payer_id": ["PARTB"] * 2,
        "mac_contract": ["04412"] * 2,
        "locality": ["01"] * 2,
        "code": ["99457", "99458"],
        "modifiers": ["", "76"],
        "units": [1, 3],
        "date_of_service": [date(2026, 10, 28), date(2026, 10, 9)],
        "place_of_service": ["11"] * 2,
        "charge": [Decimal(60), Decimal("150.5")],
        "allowed_estimate": [Decimal("51.77"), Decimal("124.26")],
        "medicare_estimate": [Decimal("40.59"), Decimal("97.42")],
        "patient_estimate": [Decimal("10.35"), Decimal("24.85")],
        "counted_seconds": [1200, 3600],
    }
    money = dict.fromkeys(("charge", "allowed_estimate", "medicare_estimate", "patient_estimate"), MONEY)
    return pl.DataFrame(columns, schema_overrides=money)


def holds(*rows: tuple[str, str, str, str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        list(rows), schema=dict(zip(HOLDS, [*[pl.String] * 4, pl.Int64], strict=True)), orient="row"
    )


def quarantine(*rows: tuple[str | None, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict.fromkeys(QUARANTINE, pl.String), orient="row")


def test_the_columns_are_the_contracts_in_its_order() -> None:
    assert (",".join(LINES), ",".join(HOLDS), ",".join(QUARANTINE)) == (
        CONTRACT_LINES,
        CONTRACT_HOLDS,
        CONTRACT_QUARANTINE,
    )


def test_lines_are_sorted_with_two_places_and_iso_dates(storage: Storage) -> None:
    write_lines(lines(), storage)
    assert text_of(storage, "lines.csv") == (
        CONTRACT_LINES + "\n"
        "R2610AAAAAAAAAAA1,1,P1,1234567893,1234567893,PARTB,04412,01,99458,76,3,2026-10-09,11,"
        "150.50,124.26,97.42,24.85,3600\n"
        "R2610BBBBBBBBBBB1,1,P2,1234567893,1234567893,PARTB,04412,01,99457,,1,2026-10-28,11,"
        "60.00,51.77,40.59,10.35,1200\n"
    )


def test_the_same_rows_in_another_order_give_the_same_bytes(storage: Storage) -> None:
    write_lines(lines(), storage, "one.csv")
    write_lines(lines().reverse().lazy(), storage, "other.csv")
    assert storage.read("one.csv") == storage.read("other.csv")


def test_holds_are_sorted_by_patient_and_reason(storage: Storage) -> None:
    write_holds(
        holds(
            ("P2", "NO_ORDER", "m", "n", 5), ("P1", "NO_ORDER", "m", "n", 5), ("P1", "HOSPICE", "m", "n", 5)
        ),
        storage,
    )
    rows = list(csv.DictReader(io.StringIO(text_of(storage, "holds.csv"))))
    assert [(row["patient_id"], row["reason"]) for row in rows] == [
        ("P1", "HOSPICE"),
        ("P1", "NO_ORDER"),
        ("P2", "NO_ORDER"),
    ]


@pytest.mark.parametrize("nothing", [pl.DataFrame(), lines().head(0), lines().head(0).lazy()])
def test_a_month_without_claims_still_has_the_header(
    storage: Storage, nothing: pl.DataFrame | pl.LazyFrame
) -> None:
    write_lines(nothing, storage)
    assert text_of(storage, "lines.csv") == CONTRACT_LINES + "\n"


def test_months_without_holds_or_quarantine_still_have_the_header(storage: Storage) -> None:
    write_holds(pl.DataFrame(), storage)
    write_quarantine(pl.DataFrame(), storage)
    assert text_of(storage, "holds.csv") == CONTRACT_HOLDS + "\n"
    assert text_of(storage, "quarantine.csv") == CONTRACT_QUARANTINE + "\n"


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", " =", "\t=", "\r\n@", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
)
def test_a_cell_from_outside_never_begins_a_formula(storage: Storage, start: str) -> None:
    write_quarantine(
        quarantine(("patients", "o.csv", start + "1+1", "sex", "unknown_code", "wrong")), storage
    )
    (row,) = csv.DictReader(io.StringIO(text_of(storage, "quarantine.csv")))
    assert row["row_key"].startswith("'")
    assert row["row_key"].endswith("1+1")


def test_a_sign_inside_a_cell_changes_nothing(storage: Storage) -> None:
    write_quarantine(quarantine(("time-entries", "o.csv", "E-1", "", "no_time_zone", "say -05:00")), storage)
    assert text_of(storage, "quarantine.csv").endswith("time-entries,o.csv,E-1,,no_time_zone,say -05:00\n")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.tuples(*[st.text(max_size=8)] * 2), max_size=6))
def test_any_text_stays_one_line_and_one_cell(storage: Storage, cells: list[tuple[str, str]]) -> None:
    write_quarantine(quarantine(*[("patients", o, k, None, "rule", "message") for o, k in cells]), storage)
    text = text_of(storage, "quarantine.csv")
    rows = list(csv.reader(io.StringIO(text)))
    assert len(text.split("\n")) - 2 == len(rows) - 1 == len(cells)
    assert {len(row) for row in rows} == {6}


def test_rows_that_break_their_promise_are_refused_without_quoting_them(storage: Storage) -> None:
    broken = holds(("SECRET", "HOSPICE", "m", "n", -1), ("SECRET", "HOSPICE", "m", "n", 1))
    with pytest.raises(ValueError, match=r"holds\.csv was not written.*counted_seconds") as refused:
        write_holds(broken, storage)
    assert "SECRET" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert not storage.exists("holds.csv")


def test_a_wrong_type_is_refused_in_a_streamed_frame_too(storage: Storage) -> None:
    with pytest.raises(ValueError, match="charge"):
        write_lines(lines().lazy().with_columns(pl.col("charge").cast(pl.Float64)), storage)


def test_the_funnel_is_readable_json_that_ends_with_a_line_feed(storage: Storage) -> None:
    write_funnel({"month": "2026-10", "charge": "60.00", "mac_name": "Señal"}, storage)
    text = text_of(storage, "funnel.json")
    assert json.loads(text) == {"month": "2026-10", "charge": "60.00", "mac_name": "Señal"}
    assert text.endswith("}\n")
    assert "Señal" in text


def test_what_the_judgement_makes_can_be_written_as_it_is(storage: Storage) -> None:
    billed = made_month.bill(made_month.sources("05 09:00:00-09:45:00 + 07 09:00:00-09:10:00 note_ref=none"))
    write_lines(billed.lines, storage)
    write_holds(billed.holds, storage)
    rows = list(csv.DictReader(io.StringIO(text_of(storage, "lines.csv"))))
    assert [(row["line_number"], row["code"], row["modifiers"], row["charge"]) for row in rows] == [
        ("1", "99457", "", "80.00"),
        ("2", "99458", "", "60.00"),
    ]
    assert text_of(storage, "holds.csv").splitlines()[1].startswith("P1,UNDOCUMENTED_TIME,")


def test_device_periods_left_out_are_a_file_only_while_there_are_any(storage: Storage) -> None:
    row = {"patient_id": "P1", "code": "99454", "date_of_service": date(2026, 10, 19)}
    periods = pl.DataFrame([{**row, "reason": "HOSPICE", "next_step": "Bill by hand."}])
    write_supply_left_out(periods, storage)
    assert text_of(storage, "supply_left_out.csv").splitlines() == [
        "patient_id,code,date_of_service,reason,next_step",
        "P1,99454,2026-10-19,HOSPICE,Bill by hand.",
    ]
    write_supply_left_out(periods.clear(), storage)
    assert not storage.exists("supply_left_out.csv")
