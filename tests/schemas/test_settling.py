"""One key has one content, across objects and file formats."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.datasets import DATASETS
from schemas.settling import Settled, settle
from tests.schemas.made_rows import raw, screened

ENTRIES = DATASETS["time-entries"]


def settled(dataset: str, *objects: list[dict[str, Any]]) -> Settled:
    """Screen each list of changed rows as one object, `a`, `b`, …, and settle them together."""
    parts = [
        screened(dataset, raw(dataset, *rows), name) for name, rows in zip("abcd", objects, strict=False)
    ]
    return settle(
        pl.concat([part.accepted for part in parts]),
        pl.concat([part.rejected for part in parts]),
        DATASETS[dataset],
    )


def places(found: Settled) -> list[tuple[str, int]]:
    return found.accepted.select("object", "row_number").rows()


def test_rows_of_different_ids_stay_in_their_order() -> None:
    found = settled("time-entries", [{"entry_id": "E2"}, {"entry_id": "E1"}], [{"entry_id": "E3"}])
    assert places(found) == [("a", 1), ("a", 2), ("b", 1)]
    assert (found.repeat_count, found.rejected.height, found.quarantined.height) == (0, 0, 0)


def test_of_identical_rows_the_first_stays_and_the_others_are_counted() -> None:
    found = settled("time-entries", [{"entry_id": "E0"}, {}, {}], [{}])
    assert places(found) == [("a", 1), ("a", 2)]
    assert (found.repeat_count, found.rejected.height, found.quarantined.height) == (2, 0, 0)


def test_the_same_content_written_otherwise_is_a_repeat() -> None:
    same = {"started_at": "2026-10-05 14:00Z", "live_interaction": "YES", "note_ref": " N1 "}
    assert settled("time-entries", [{}], [same]).repeat_count == 1


def test_one_id_with_two_contents_refuses_all_its_rows_and_names_the_others() -> None:
    found = settled("time-entries", [{}, {"entry_id": "E2"}], [{"note_ref": "N2"}, {}])
    assert places(found) == [("a", 2)]
    assert (found.repeat_count, found.rejected.height) == (0, 3)
    assert found.quarantined.select("dataset", "object", "row_key", "column", "rule").rows() == [
        ("time-entries", place, "E1", "entry_id", "duplicate_id") for place in ("a", "b", "b")
    ]
    assert "They are a row 1; b row 1; b row 2." in found.quarantined["message"][0]


def test_a_refused_row_with_the_same_id_refuses_the_accepted_one_too() -> None:
    found = settled("time-entries", [{}], [{"ended_at": "later"}])
    assert places(found) == []
    assert (found.repeat_count, found.rejected.height) == (0, 1)
    assert found.quarantined.select("object", "rule").rows() == [("a", "duplicate_id"), ("b", "duplicate_id")]


def test_a_refused_row_repeated_exactly_has_one_content() -> None:
    found = settled("time-entries", [{"ended_at": "later"}], [{"ended_at": "later"}])
    assert found.quarantined.is_empty()
    assert found.rejected.height == found.repeat_count == 0


def test_two_refused_rows_of_one_id_with_different_contents_get_the_reason_as_well() -> None:
    found = settled("time-entries", [{"ended_at": "later"}], [{"ended_at": "never"}])
    assert found.quarantined["rule"].to_list() == ["duplicate_id"] * 2
    assert found.rejected.height == 0


def test_rows_without_an_id_are_not_taken_for_one_another() -> None:
    found = settled("time-entries", [{"entry_id": ""}, {"entry_id": "", "note_ref": "N2"}])
    assert found.quarantined.is_empty()


def test_many_places_are_not_all_named() -> None:
    found = settled("time-entries", [{"note_ref": f"N{number}"} for number in range(8)])
    assert found.quarantined["message"][0].endswith("a row 5 and 3 more.")


@pytest.mark.parametrize(
    ("dataset", "change", "other_key"),
    [
        ("patients", {"city": "Dallas"}, {"patient_id": "P2"}),
        ("practitioners", {"last_name": "White"}, {"npi": "1"}),
        ("billing-providers", {"locality": "99"}, {"npi": "1"}),
        ("payers", {"usage": "T"}, {"payer_id": "X"}),
        ("charges", {"amount": "80.00"}, {"effective_from": "2026-02-01"}),
    ],
)
def test_every_snapshot_table_has_one_row_per_key(
    dataset: str, change: dict[str, str], other_key: dict[str, str]
) -> None:
    assert settled(dataset, [{}, {}]).repeat_count == 1
    assert settled(dataset, [{}, {**change, **other_key}]).accepted.height == 2
    assert settled(dataset, [{}, change]).quarantined["rule"].to_list() == ["duplicate_id"] * 2


@pytest.mark.parametrize("dataset", ["device-readings", "coverage-windows"])
def test_a_dataset_without_a_key_keeps_every_row(dataset: str) -> None:
    assert settled(dataset, [{}, {}]).accepted.height == 2


def test_nothing_settles_to_nothing() -> None:
    accepted = pl.DataFrame(schema=ENTRIES.accepted_schema)
    found = settle(accepted, pl.DataFrame(schema=ENTRIES.rejected_schema), ENTRIES)
    assert dict(found.accepted.schema) == ENTRIES.accepted_schema
    assert found.quarantined.is_empty()


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "entry_id": st.sampled_from(["E1", "E2", "E3", ""]),
            "note_ref": st.sampled_from(["N1", "N2"]),
            "ended_at": st.sampled_from(["2026-10-05T15:00:00Z", "2026-10-05T15:00Z", "later"]),
        }
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=50)
@given(ROWS, ROWS)
def test_every_accepted_row_is_kept_repeated_or_refused(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    rows = [{"entry_id": "E9"}, *first]
    found = settled("time-entries", rows, [*second, {"entry_id": "E8"}])
    screened_rows = sum(
        bool(row.get("entry_id")) and row.get("ended_at") != "later" for row in [*rows, *second]
    )
    assert found.accepted.height + found.repeat_count + found.rejected.height == screened_rows + 1
    assert found.accepted["entry_id"].is_unique().all()
    assert set(found.accepted["entry_id"]).isdisjoint(found.quarantined["row_key"])
    # An id is kept exactly when all its rows say the same.
    contents: dict[str, set[tuple[str, str]]] = {}
    for row in [*first, *second]:
        ended = row["ended_at"].replace("15:00Z", "15:00:00Z")
        contents.setdefault(row["entry_id"], set()).add((row["note_ref"], ended))
    alike = {
        key for key, said in contents.items() if key and len(said) == 1 and next(iter(said))[1] != "later"
    }
    assert set(found.accepted["entry_id"]) == alike | {"E8", "E9"}
