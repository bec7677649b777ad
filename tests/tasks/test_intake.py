"""A month's objects are pinned, read in any format, and screened."""

import gzip
import hashlib
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.datasets import DATASETS
from schemas.errors import Refused
from tasks.intake import MissingInput, pin_sources, read_object, screen_whole, screened_parts
from tasks.storage import ChangedSincePinned, Storage, storage_at
from tests.schemas.made_rows import GOOD, NOW, PATIENTS, raw, screened

OCTOBER = date(2026, 10, 1)
NEEDED = ("patients", "practitioners", "billing-providers", "payers", "charges")


def as_bytes(frame: pl.DataFrame, ending: str, folder: Path) -> bytes:
    """Write a frame in one of the formats that are read."""
    path = folder / "made"
    writers: dict[str, Any] = {
        ".csv": frame.write_csv,
        ".parquet": frame.write_parquet,
        ".ndjson": frame.write_ndjson,
        ".jsonl": frame.write_ndjson,
    }
    writers[ending.removesuffix(".gz")](path)
    return gzip.compress(path.read_bytes()) if ending.endswith(".gz") else path.read_bytes()


@pytest.fixture(params=["folder", "s3"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A source with one good row in each dataset that a month needs."""
    root = (
        str(tmp_path / "source")
        if request.param == "folder"
        else f"s3://{request.getfixturevalue('s3_bucket')}/in"
    )
    storage = storage_at(root)
    for name in NEEDED:
        storage.write(f"{name}/all.csv", as_bytes(raw(name), ".csv", tmp_path))
    storage.write("time-entries/2026-10/a.csv", as_bytes(raw("time-entries"), ".csv", tmp_path))
    return storage


def test_a_month_pins_its_folders_and_lists_what_it_does_not_read(source: Storage) -> None:
    for month in ("2026-07", "2026-08", "2026-09", "2026-11", "2026-12"):
        source.write(f"time-entries/{month}/b.parquet", b"x")
        source.write(f"device-readings/{month}/r.ndjson", b"x")
    for name in ("_SUCCESS", "_part.csv", "notes.txt", "empty.csv", "archive/old.csv"):
        source.write(f"patients/{name}", b"" if name in {"_SUCCESS", "empty.csv"} else b"x")
    source.write("patients/MORE.CSV.GZ", b"x")
    source.write("patients-old/all.csv", b"x")
    manifest = pin_sources(source.uri, OCTOBER)
    assert [pin.key for pin in manifest.of("time-entries")] == [
        "time-entries/2026-09/b.parquet",
        "time-entries/2026-10/a.csv",
        "time-entries/2026-11/b.parquet",
    ]
    months = [pin.key.split("/")[1] for pin in manifest.of("device-readings")]
    assert months == ["2026-08", "2026-09", "2026-11"]
    assert [pin.key for pin in manifest.of("patients")] == ["patients/MORE.CSV.GZ", "patients/all.csv"]
    assert {(ignored.key, ignored.reason) for ignored in manifest.ignored} == {
        ("patients/_SUCCESS", "its name marks it as no data"),
        ("patients/_part.csv", "its name marks it as no data"),
        ("patients/archive/old.csv", "it lies in a folder below"),
        ("patients/empty.csv", "it is empty"),
        ("patients/notes.txt", "its name has none of the endings that are read"),
    }
    pin = manifest.of("charges")[0]
    assert pin.uri == f"{source.uri}/charges/all.csv"
    assert pin.size == len(source.read(pin.key, pin.version))
    assert manifest == type(manifest).model_validate_json(manifest.model_dump_json())


@pytest.mark.parametrize(
    ("month", "folders"),
    [
        (date(2026, 1, 1), ["2025-11", "2025-12", "2026-01", "2026-02"]),
        (date(2026, 12, 1), ["2026-10", "2026-11", "2026-12", "2027-01"]),
    ],
)
def test_the_months_around_a_year_end_are_found(tmp_path: Path, month: date, folders: list[str]) -> None:
    storage = storage_at(str(tmp_path))
    for name in NEEDED:
        storage.write(f"{name}/x.csv", b"x")
    for folder in folders:
        storage.write(f"device-readings/{folder}/x.csv", b"x")
        storage.write(f"time-entries/{folder}/x.csv", b"x")
    manifest = pin_sources(str(tmp_path), month)
    assert [pin.key.split("/")[1] for pin in manifest.of("device-readings")] == folders
    assert [pin.key.split("/")[1] for pin in manifest.of("time-entries")] == folders[1:]


def test_a_source_without_a_needed_dataset_is_refused_in_one_sentence(source: Storage) -> None:
    source.delete("payers/all.csv")
    source.delete("time-entries/2026-10/a.csv")
    source.write("payers/empty.csv", b"")
    with pytest.raises(MissingInput, match=r"nothing to read in time-entries/2026-10/, payers/; put a file"):
        pin_sources(source.uri, OCTOBER)
    assert issubclass(MissingInput, Refused)


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="nowhere"):
        pin_sources(str(tmp_path / "nowhere"), OCTOBER)


@pytest.mark.parametrize("dataset", GOOD)
def test_every_format_gives_the_same_accepted_rows(dataset: str, tmp_path: Path) -> None:
    text = raw(dataset, {}, {}).with_columns(extra=pl.lit("1"))
    typed = screened(dataset, text).accepted.drop("object", "row_number").with_columns(extra=pl.lit(1))
    storage = storage_at(str(tmp_path / "source"))
    folder = f"{dataset}/2026-10" if DATASETS[dataset].months else dataset
    for name in NEEDED:
        storage.write(f"{name}/good.csv", as_bytes(raw(name), ".csv", tmp_path))
    storage.write("time-entries/2026-10/good.csv", as_bytes(raw("time-entries"), ".csv", tmp_path))
    endings = (".csv", ".csv.gz", ".ndjson", ".ndjson.gz", ".jsonl", ".parquet")
    for ending in endings:
        storage.write(f"{folder}/text{ending}", as_bytes(text, ending, tmp_path))
    storage.write(f"{folder}/typed.parquet", as_bytes(typed, ".parquet", tmp_path))
    pins = [pin for pin in pin_sources(storage.uri, OCTOBER).of(dataset) if "good" not in pin.key]
    assert len(pins) == len(endings) + 1
    for pin in pins:
        ((read, found),) = screened_parts(pin, storage, NOW, PATIENTS)
        assert found.quarantined.is_empty(), pin.key
        assert found.extra_columns == ("extra",)
        assert found.accepted.drop("object", "row_number").equals(typed.drop("extra")), pin.key
        assert found.accepted["object"].unique().to_list() == [pin.key]
        assert read.sha256 == hashlib.sha256(storage.read(pin.key)).hexdigest()


def test_an_object_replaced_after_pinning_is_not_read(source: Storage) -> None:
    (pin,) = pin_sources(source.uri, OCTOBER).of("charges")
    source.write(pin.key, b"billing_npi,code\n")
    with pytest.raises(ChangedSincePinned):
        list(read_object(pin, source))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.parquet", b"no parquet"),
        ("x.csv.gz", b"no gzip"),
        ("x.csv.gz", gzip.compress(b"npi,last_name\n" * 50, mtime=0)[:-8]),
        ("x.csv", b"\n\n"),
    ],
)
def test_a_damaged_object_is_quarantined_and_the_others_are_read(
    tmp_path: Path, name: str, data: bytes
) -> None:
    storage = storage_at(str(tmp_path / "source"))
    for dataset in NEEDED:
        storage.write(f"{dataset}/good.csv", as_bytes(raw(dataset), ".csv", tmp_path))
    storage.write("time-entries/2026-10/good.csv", b"x")
    storage.write(f"practitioners/{name}", data)
    found = screen_whole(pin_sources(storage.uri, OCTOBER), "practitioners", NOW)
    assert found.accepted.height == 1
    assert found.quarantined.select("object", "row_key", "column", "rule").rows() == [
        (f"practitioners/{name}", None, None, "unreadable_file")
    ]


def test_a_whole_dataset_is_settled_over_its_objects_and_its_totals_chain(
    source: Storage, tmp_path: Path
) -> None:
    more = raw("patients", {}, {"patient_id": "P2"}, {"patient_id": "P3", "sex": "?"}, {"patient_id": ""})
    source.write("patients/more.ndjson", as_bytes(more, ".ndjson", tmp_path))
    late = raw("patients", {"patient_id": "P2", "city": "Dallas"})
    source.write("patients/late.parquet", as_bytes(late.with_columns(note=pl.lit("x")), ".parquet", tmp_path))
    found = screen_whole(pin_sources(source.uri, OCTOBER), "patients", NOW)
    assert found.accepted["patient_id"].to_list() == ["P1"]
    assert sorted(found.keys) == ["P1", "P2", "P3"]
    assert sorted(found.quarantined["rule"]) == ["duplicate_id", "duplicate_id", "missing", "unknown_code"]
    totals = found.totals
    assert (totals.read, totals.accepted, totals.quarantined, totals.repeats) == (6, 1, 4, 1)
    assert found.extra_columns == ["note"]
    assert all(pin.sha256 for pin in found.pins)
    assert len(found.pins) == 3


def test_an_optional_dataset_may_be_absent(source: Storage) -> None:
    found = screen_whole(pin_sources(source.uri, OCTOBER), "coverage-windows", NOW)
    assert dict(found.accepted.schema) == DATASETS["coverage-windows"].accepted_schema
    assert found.accepted.is_empty()
    assert found.quarantined.is_empty()
    assert found.totals.read == 0
