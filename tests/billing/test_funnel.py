"""The funnel adds buckets up without losing a patient, a second or a cent."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.funnel import MINUTES_BANDS, Counts, combine, count_lines, partial_funnel
from billing.holds import hold_reasons
from billing.month import BilledMonth
from schemas.columns import MONEY
from schemas.errors import ControlBreak
from schemas.outputs import Funnel
from schemas.shards import RowTotals
from tests.billing import made_month

Schema = dict[str, type[pl.DataType] | pl.DataType]

OCTOBER = date(2026, 10, 1)
# JH's contract had another holder until September.
MACS = pl.DataFrame(
    [
        ("04412", "JH", "Earlier Holder", date(2024, 1, 1), date(2026, 9, 30)),
        ("04412", "JH", "Novitas", date(2026, 10, 1), None),
        ("01182", "JE", "Noridian", date(2024, 1, 1), None),
    ],
    schema=["mac_contract", "jurisdiction", "mac_name", "effective_from", "effective_to"],
    orient="row",
)
HOLD_REASONS = pl.DataFrame(
    {"reason": ["NO_CONSENT", "UNITS_OVER_CAP"], "next_step": ["Get the consent.", "Nothing to do."]}
)

PATIENTS: Schema = {
    "patient_id": pl.String,
    "mac_contract": pl.String,
    "logged_seconds": pl.Int64,
    "counted_seconds": pl.Int64,
    "billed_seconds": pl.Int64,
    "stranded_seconds": pl.Int64,
    "over_cap_seconds": pl.Int64,
    "is_eligible": pl.Boolean,
    "is_billed": pl.Boolean,
}
LINES: Schema = {
    "claim_number": pl.String,
    "line_number": pl.Int64,
    "mac_contract": pl.String,
    "code": pl.String,
    "units": pl.Int64,
    "charge": MONEY,
    "allowed_estimate": MONEY,
    "medicare_estimate": MONEY,
    "patient_estimate": MONEY,
}
HOLDS: Schema = {
    "patient_id": pl.String,
    "reason": pl.String,
    "is_note": pl.Boolean,
    "counted_seconds": pl.Int64,
}


def money(*amounts: str) -> list[Decimal]:
    return [Decimal(amount) for amount in amounts]


def bucket(
    patients: list[tuple[Any, ...]] | None = None,
    lines: list[tuple[Any, ...]] | None = None,
    holds: list[tuple[Any, ...]] | None = None,
    enrolments: list[tuple[date | None, date | None]] | None = None,
    left_out: list[str] | None = None,
) -> Counts:
    """Count a bucket given as rows."""
    enrolled = pl.DataFrame(
        enrolments or [], schema={"enrolled_on": pl.Date, "disenrolled_on": pl.Date}, orient="row"
    )
    billed = BilledMonth(
        claims=pl.DataFrame(),
        lines=pl.DataFrame(lines or [], schema=LINES, orient="row"),
        holds=pl.DataFrame(holds or [], schema=HOLDS, orient="row"),
        evidence=pl.DataFrame(),
        patients=pl.DataFrame(patients or [], schema=PATIENTS, orient="row"),
        released=pl.DataFrame(),
        supply_left_out=pl.DataFrame({"reason": left_out or []}, schema={"reason": pl.String}),
    )
    return partial_funnel(billed, enrolled, OCTOBER)


def funnel_of(*partials: Counts, **arrived: Any) -> Funnel:
    """Combine buckets, with nothing quarantined unless told."""
    nothing: dict[str, Any] = {
        "rows": [],
        "quarantine": pl.DataFrame(schema={"dataset": pl.String, "rule": pl.String}),
        "extra_columns": {},
    }
    return combine(partials, month=OCTOBER, macs=MACS, hold_reasons=HOLD_REASONS, **(nothing | arrived))


def two_buckets() -> tuple[Counts, Counts]:
    """Make a month of two practices: four units, one patient held, one cap reached."""
    texas = bucket(
        patients=[
            ("P1", "04412", 1500, 1300, 1200, 100, 0, True, True),
            ("P2", "04412", 6100, 6060, 4800, 60, 1200, True, True),
        ],
        lines=[
            ("C1", 1, "04412", "99457", 1, *money("60.00", "51.77", "40.59", "10.35")),
            ("C2", 1, "04412", "99457", 1, *money("60.00", "51.77", "40.59", "10.35")),
            ("C2", 2, "04412", "99458", 3, *money("150.00", "124.26", "97.42", "24.85")),
        ],
        holds=[("P2", "UNITS_OVER_CAP", True, 6060)],
        enrolments=[(date(2026, 1, 1), None), (date(2026, 10, 31), None)],
    )
    california = bucket(
        patients=[("P3", "01182", 900, 640, 0, 640, 0, False, False)],
        holds=[("P3", "NO_CONSENT", False, 640)],
        enrolments=[(date(2026, 2, 1), date(2026, 10, 1))],
    )
    return texas, california


def test_device_periods_left_out_are_counted_by_reason() -> None:
    funnel = funnel_of(bucket(left_out=["NO_CONSENT", "NO_CONSENT"]), bucket(left_out=["NO_CONSENT"]))
    assert funnel["supply_left_out"] == [
        {"reason": "NO_CONSENT", "periods": 3, "next_step": "Get the consent."}
    ]
    assert funnel_of(bucket())["supply_left_out"] == []


def test_a_month_of_two_buckets_adds_up_to_hand_worked_figures() -> None:
    funnel = funnel_of(*two_buckets())
    assert (funnel["patients_enrolled"], funnel["patients_with_time"]) == (3, 3)
    assert (funnel["patients_eligible"], funnel["patients_billed"], funnel["patients_held"]) == (2, 2, 1)
    assert funnel["minutes_logged"] == 141.67
    assert (funnel["logged_seconds"], funnel["counted_seconds"]) == (8500, 8000)
    assert (funnel["billed_seconds"], funnel["stranded_seconds"], funnel["over_cap_seconds"]) == (
        6000,
        800,
        1200,
    )
    assert (funnel["minutes_billed"], funnel["minutes_stranded"], funnel["minutes_over_cap"]) == (
        100,
        13.33,
        20,
    )
    assert (funnel["claims"], funnel["lines"], funnel["units"]) == (2, 3, 5)
    assert (funnel["charge"], funnel["allowed_estimate"]) == ("270.00", "227.80")
    assert (funnel["medicare_estimate"], funnel["patient_estimate"]) == ("178.60", "45.55")


def test_money_and_people_are_told_by_code_and_by_contractor() -> None:
    funnel = funnel_of(*two_buckets())
    assert [(row["code"], row["lines"], row["units"], row["charge"]) for row in funnel["by_code"]] == [
        ("99457", 2, 2, "120.00"),
        ("99458", 1, 3, "150.00"),
    ]
    california, texas = funnel["by_mac"]
    assert (california["jurisdiction"], california["mac_name"]) == ("JE", "Noridian")
    assert (california["patients_with_time"], california["claims"], california["charge"]) == (1, 0, "0.00")
    assert texas["mac_name"] == "Novitas"
    assert (texas["patients_billed"], texas["claims"], texas["lines"]) == (2, 2, 3)
    assert (texas["charge"], texas["patient_estimate"]) == ("270.00", "45.55")


def test_patients_of_an_unknown_provider_stay_visible_beside_the_contractors() -> None:
    lost = bucket(patients=[("P9", None, 700, 700, 0, 700, 0, False, False)])
    first, *_ = funnel_of(*two_buckets(), lost, lost)["by_mac"]
    assert (first["mac_contract"], first["mac_name"], first["patients_with_time"]) == (None, None, 2)


def test_holds_carry_their_next_step_and_tell_notes_from_stops() -> None:
    consent, cap = funnel_of(*two_buckets())["holds"]
    assert (consent["reason"], consent["is_note"], consent["patients"]) == ("NO_CONSENT", False, 1)
    assert (consent["counted_minutes"], consent["next_step"]) == (10.67, "Get the consent.")
    assert (cap["reason"], cap["is_note"]) == ("UNITS_OVER_CAP", True)


@pytest.mark.parametrize(
    ("enrolled_on", "disenrolled_on", "counts"),
    [
        (date(2026, 10, 31), None, True),
        (date(2026, 11, 1), None, False),
        (date(2026, 1, 1), date(2026, 10, 1), True),
        (date(2026, 1, 1), date(2026, 9, 30), False),
        (None, None, False),
    ],
)
def test_enrolment_counts_when_it_covers_any_day_of_the_month(
    enrolled_on: date | None, disenrolled_on: date | None, counts: bool
) -> None:
    funnel = funnel_of(bucket(enrolments=[(enrolled_on, disenrolled_on)]))
    assert funnel["patients_enrolled"] == int(counts)


@pytest.mark.parametrize(
    ("seconds", "band"),
    [
        (0, 0),
        (59, 0),
        (60, 1),
        (599, 1),
        (600, 10),
        (1199, 10),
        (1200, 20),
        (2399, 20),
        (2400, 40),
        (5999, 80),
        (6000, 100),
        (90000, 100),
    ],
)
def test_a_band_of_minutes_begins_on_its_full_minute(seconds: int, band: int) -> None:
    funnel = funnel_of(bucket(patients=[("P1", "04412", seconds + 1, seconds, 0, seconds, 0, False, False)]))
    assert [row["minutes_from"] for row in funnel["minutes_distribution"] if row["patients"]] == [band]


def test_every_band_is_listed_even_when_nobody_is_in_it() -> None:
    bands = funnel_of()["minutes_distribution"]
    assert tuple(row["minutes_from"] for row in bands) == MINUTES_BANDS
    assert [row["minutes_to"] for row in bands] == [0, 9, 19, 39, 59, 79, 99, None]
    assert {row["patients"] for row in bands} == {0}


def test_claims_with_the_same_units_share_a_pattern_however_their_lines_are_written() -> None:
    price = money("50.00", "40.00", "31.36", "8.00")
    per_unit = [("A", 1, "04412", "99457", 1, *price)] + [
        ("A", n, "04412", "99458", 1, *price) for n in (2, 3)
    ]
    with_units = [("B", 1, "04412", "99457", 1, *price), ("B", 2, "04412", "99458", 2, *price)]
    short = [("C", 1, "04412", "99470", 1, *price)]
    funnel = funnel_of(bucket(lines=with_units + short), bucket(lines=per_unit))
    assert [
        (row["pattern"], row["claims"], row["allowed_estimate"]) for row in funnel["units_distribution"]
    ] == [
        ("99457 + 2 x 99458", 2, "200.00"),
        ("99470", 1, "40.00"),
    ]


def test_rows_are_added_up_by_dataset_and_rejections_by_rule() -> None:
    funnel = funnel_of(
        rows=[
            RowTotals(dataset="time-entries", read=10, accepted=8, quarantined=2),
            RowTotals(dataset="time-entries", accepted=-2, quarantined=1, repeats=1),
            RowTotals(dataset="patients", read=3, accepted=3),
        ],
        quarantine=pl.DataFrame(
            {"dataset": ["time-entries"] * 3, "rule": ["no_time_zone", "duplicate_id", "no_time_zone"]}
        ),
        extra_columns={"patients": ["nickname", "height"], "payers": []},
    )
    patients, entries = funnel["sources"]
    assert (patients["dataset"], patients["rows_read"], patients["rows_accepted"]) == ("patients", 3, 3)
    assert (entries["rows_read"], entries["rows_accepted"], entries["rows_quarantined"]) == (10, 6, 3)
    assert (entries["repeats_dropped"], entries["rows_elsewhere"]) == (1, 0)
    assert [(row["rule"], row["rows"]) for row in funnel["quarantine"]] == [
        ("duplicate_id", 1),
        ("no_time_zone", 2),
    ]
    assert funnel["extra_columns"] == {"patients": ["height", "nickname"]}


def test_a_lost_second_stops_the_month_rather_than_being_published() -> None:
    leaking = bucket(patients=[("P1", "04412", 1300, 1300, 1200, 99, 0, True, True)])
    with pytest.raises(ControlBreak, match="2026-10 should be 1300 and is 1299"):
        funnel_of(leaking)


def test_a_month_without_anything_is_a_funnel_of_zeros() -> None:
    funnel = funnel_of()
    assert (funnel["patients_enrolled"], funnel["claims"], funnel["charge"]) == (0, 0, "0.00")
    assert (funnel["by_mac"], funnel["holds"], funnel["sources"]) == ([], [], [])
    assert funnel == funnel_of(bucket())
    assert funnel == funnel_of(quarantine=pl.DataFrame())


def test_the_funnel_has_the_keys_its_shape_promises_in_that_order() -> None:
    funnel = funnel_of(*two_buckets())
    assert list(funnel) == list(Funnel.__annotations__)
    for name in (
        "by_code",
        "by_mac",
        "holds",
        "supply_left_out",
        "minutes_distribution",
        "units_distribution",
    ):
        promised = Funnel.__annotations__[name].__args__[0].__annotations__
        assert [list(row) for row in funnel[name]] == [list(promised)] * len(funnel[name])


def test_counts_carry_no_patient_and_survive_json() -> None:
    texas, california = two_buckets()
    text = json.dumps([texas, california])
    assert not any(patient in text for patient in ("P1", "P2", "P3", "C1", "C2"))
    assert funnel_of(*json.loads(text)) == funnel_of(texas, california)


@given(
    st.lists(st.tuples(st.sampled_from(["04412", "01182"]), st.integers(0, 10**10)), max_size=30),
    st.integers(1, 4),
)
def test_cents_are_exact_however_the_claims_are_spread_over_buckets(
    claims: list[tuple[str, int]], buckets: int
) -> None:
    rows = [
        (f"C{n}", 1, mac, "99457", 1, *[Decimal(cents) / 100] * 4) for n, (mac, cents) in enumerate(claims)
    ]
    funnel = funnel_of(*[bucket(lines=rows[n::buckets]) for n in range(buckets)])
    assert Decimal(funnel["charge"]) == sum(Decimal(cents) for _, cents in claims) / 100
    assert Decimal(funnel["charge"]) == sum(Decimal(row["charge"]) for row in funnel["by_mac"])
    assert funnel == funnel_of(bucket(lines=rows))


def test_published_lines_are_counted_like_a_buckets_own() -> None:
    texas, _ = two_buckets()
    lines = pl.DataFrame(
        [("C1", 1, "04412", "99457", 1, *money("60.00", "51.77", "40.59", "10.35"))],
        schema=LINES,
        orient="row",
    )
    assert funnel_of(texas | count_lines(lines))["charge"] == "60.00"


def test_a_bucket_as_the_judgement_leaves_it_is_counted_to_the_second_and_cent() -> None:
    calls = "05 09:00:00-09:45:30 + 06 09:00:00-09:12:00 patient_id=P2 + 07 09:00:00-09:10:00 note_ref=none"
    people = made_month.patients({}, {"patient_id": "P2", "member_id": "1EG4TE5MK74", "consent_date": None})
    billed = made_month.bill(made_month.sources(calls, patients=people))
    funnel = combine(
        [partial_funnel(billed, people, OCTOBER)],
        month=OCTOBER,
        rows=[],
        quarantine=pl.DataFrame(),
        extra_columns={},
        macs=made_month.reference().macs,
        hold_reasons=hold_reasons(),
    )
    assert (funnel["patients_enrolled"], funnel["patients_with_time"], funnel["patients_held"]) == (2, 2, 1)
    assert (funnel["patients_eligible"], funnel["patients_billed"], funnel["claims"]) == (1, 1, 1)
    assert (funnel["logged_seconds"], funnel["counted_seconds"]) == (4050, 3450)
    assert (funnel["billed_seconds"], funnel["stranded_seconds"]) == (2400, 1050)
    assert [row["pattern"] for row in funnel["units_distribution"]] == ["99457 + 99458"]
    assert funnel["charge"] == "140.00"
    assert Decimal(funnel["allowed_estimate"]) == billed.claims["allowed_estimate"].sum()
    assert funnel["by_mac"][0]["jurisdiction"] == "JH"
    assert all(hold["next_step"] for hold in funnel["holds"])
    assert {hold["reason"]: hold["is_note"] for hold in funnel["holds"]} == {
        "NO_CONSENT": False,
        "UNDOCUMENTED_TIME": True,
    }
