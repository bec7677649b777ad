"""Neighbouring folders: each entry is used once, and nothing that may concern the month is lost."""

import json
from pathlib import Path

import pytest

from tests.flows.golden_source import HEADER, copy_source
from tests.flows.months import RunMonth

pytestmark = pytest.mark.flow
PATIENT = "G01-exactly-20-minutes"


def rows(*entries: tuple[str, str, str, str]) -> str:
    """Write entries of one patient: id, start, end, activity."""
    return "\n".join(
        [
            HEADER,
            *(
                f"{key},{PATIENT},RPM,S-{key},clinical_staff,{start},{end},{activity},phone,true,N1,,timer,{end}"
                for key, start, end, activity in entries
            ),
        ]
    )


def test_refused_rows_of_a_neighbours_folder_are_listed_if_they_may_be_of_this_month(
    run_month: RunMonth, tmp_path: Path
) -> None:
    source = copy_source(tmp_path)
    own, next_month = (source / f"time-entries/2026-{month}" for month in ("10", "11"))
    next_month.mkdir()
    (own / "more.csv").write_text(
        rows(("two-folders", "2026-10-20T09:00:00-05:00", "2026-10-20T09:01:00-05:00", "data_review"))
    )
    (next_month / "a.csv").write_text(
        rows(
            ("no-zone", "2026-11-20T09:00:00", "2026-11-20T09:10:00-06:00", "data_review"),
            ("no-zone", "2026-11-20T09:00:00-06:00", "2026-11-20T09:10:00-06:00", "golf"),
            ("last-night", "2026-10-31T23:50:00-05:00", "2026-11-01T00:10:00-05:00", "golf"),
            ("of-november", "2026-11-20T09:00:00-06:00", "2026-11-20T09:10:00-06:00", "golf"),
            ("two-of-november", "2026-11-20T10:00:00-06:00", "2026-11-20T10:10:00-06:00", "data_review"),
            ("two-of-november", "2026-11-20T10:00:00-06:00", "2026-11-20T10:20:00-06:00", "data_review"),
            ("two-folders", "2026-11-20T11:00:00-06:00", "2026-11-20T11:10:00-06:00", "data_review"),
        )
    )
    (next_month / "broken.parquet").write_bytes(b"no parquet")
    outputs = run_month(source)
    found = outputs.table("quarantine").select("object", "row_key", "rule").rows()
    here = {(row_key, rule) for key, row_key, rule in found if "2026-11" in key}
    assert here == {
        ("no-zone", "no_time_zone"),
        ("no-zone", "unknown_code"),
        ("no-zone", "duplicate_id"),
        ("last-night", "unknown_code"),
        ("two-folders", "duplicate_id"),
        ("", "unreadable_file"),
    }
    assert ("time-entries/2026-10/more.csv", "two-folders", "duplicate_id") in found
    funnel = json.loads((outputs.folder / "funnel.json").read_text())
    (entries,) = (told for told in funnel["sources"] if told["dataset"] == "time-entries")
    assert entries["rows_elsewhere"] == 4
