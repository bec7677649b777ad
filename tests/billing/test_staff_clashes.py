"""Staff clashes: one person cannot work for two patients at once, whatever the programme."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.staff_clashes import staff_clashes
from tests.billing.made_month import OCTOBER, at, entries, entry, parse_entries

Worked = tuple[str, str, int, int]

log = st.lists(
    st.tuples(
        st.sampled_from(["S1", "S2"]),
        st.sampled_from(["P1", "P2", "P3"]),
        st.integers(0, 20),
        st.integers(1, 9),
    ),
    max_size=8,
)


def spans(clashes: pl.DataFrame) -> list[tuple[str, str, str]]:
    clocks = pl.col("started_at", "ended_at").dt.convert_time_zone("America/Chicago").dt.strftime("%H:%M")
    return clashes.select("entry_id", clocks).sort("entry_id", "started_at").rows()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("05 09:00-09:20 + 05 09:20-09:40 patient_id=P2", []),
        ("05 09:00-09:20 + 05 09:00-09:20 staff_id=S2 patient_id=P2", []),
        ("05 09:00-09:20 + 05 09:10-09:30", []),
        (
            "05 09:00-09:20 + 05 09:10-09:30 patient_id=P2",
            [("E1", "09:10", "09:20"), ("E2", "09:10", "09:20")],
        ),
        (
            "05 09:00-09:20 program=CCM + 05 09:10-09:30 patient_id=P2 staff_role=administrative",
            [("E1", "09:10", "09:20"), ("E2", "09:10", "09:20")],
        ),
        (
            "05 09:00-09:30 + 05 09:05-09:10 patient_id=P2 + 05 09:20-09:25 patient_id=P3",
            [
                ("E1", "09:05", "09:10"),
                ("E1", "09:20", "09:25"),
                ("E2", "09:05", "09:10"),
                ("E3", "09:20", "09:25"),
            ],
        ),
    ],
)
def test_the_shared_part_of_each_entry_is_found(written: str, expected: list[tuple[str, str, str]]) -> None:
    assert spans(staff_clashes(parse_entries(written))) == expected


@settings(deadline=None)
@given(log)
def test_clashes_are_the_seconds_that_a_count_second_by_second_finds(worked: list[Worked]) -> None:
    opening = at(OCTOBER, "09:00")
    rows = [
        entry(
            opening + timedelta(seconds=start),
            opening + timedelta(seconds=start + length),
            staff_id=staff,
            patient_id=patient,
            entry_id=f"E{number}",
        )
        for number, (staff, patient, start, length) in enumerate(worked)
    ]
    busy = {
        (staff, second, patient)
        for staff, patient, start, length in worked
        for second in range(start, start + length)
    }
    expected = sorted(
        (f"E{number}", second)
        for number, (staff, patient, start, length) in enumerate(worked)
        for second in range(start, start + length)
        if any((staff, second, other) in busy for other in {"P1", "P2", "P3"} - {patient})
    )
    found = sorted(
        (row["entry_id"], int((row["started_at"] - opening).total_seconds()) + second)
        for row in staff_clashes(entries(rows)).to_dicts()
        for second in range(int((row["ended_at"] - row["started_at"]).total_seconds()))
    )
    assert found == expected
