"""The sample month is realistic, repeatable, whole, and wrong only where it says so."""

import gzip
import hashlib
import io
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from billing.month import BilledMonth, MonthSources, bill_month
from billing.reference.tables import load
from billing.staff_clashes import staff_clashes
from infra.sandbox.month import MonthMade, main, make_month
from infra.sandbox.places import place
from infra.sandbox.servers import S3Server
from schemas.columns import MBI_PATTERN, is_npi
from schemas.datasets import DATASETS
from schemas.quarantine import RawPart, screen
from schemas.settling import settle

MONTH = date(2026, 10, 1)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOT_FAULTS = ["repeat", "days_in_hospital", "clipped_at_both_ends", "among_faulty_rows"]
SHARED = Path(__file__).parents[3] / "shared" / "samples"


def _read(name: str, data: bytes) -> pl.DataFrame:
    """Read one source file the plain way: text but for Parquet's own types."""
    if name.endswith(".parquet"):
        return pl.read_parquet(io.BytesIO(data))
    if name.endswith(".ndjson"):
        return pl.read_ndjson(io.BytesIO(data), infer_schema_length=None).with_columns(
            pl.all().cast(pl.String)
        )
    return pl.read_csv(gzip.decompress(data) if name.endswith(".gz") else data, infer_schema=False)


def _objects(folder: Path, dataset: str) -> list[tuple[str, pl.DataFrame]]:
    with place(folder) as source:
        return [
            (key, _read(key, source.get(key))) for key in source.list_keys() if key.startswith(f"{dataset}/")
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("month")


@pytest.fixture(scope="module")
def made(folder: Path) -> MonthMade:
    return make_month(MONTH, patients=600, seed=7, out=folder)


@pytest.fixture(scope="module")
def screened(made: MonthMade, folder: Path) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """Every dataset screened and settled: the accepted rows, and the whole quarantine."""
    ids = pl.concat([frame["patient_id"] for _, frame in _objects(folder, "patients")])
    accepted, quarantined = {}, []
    for name, dataset in DATASETS.items():
        sides = [
            screen(
                RawPart(
                    frame.select(column for column in frame.columns if column in dataset.types),
                    pl.int_range(1, len(frame) + 1, eager=True),
                ),
                dataset, object_key=key, now=NOW, patient_ids=ids,
            )
            for key, frame in _objects(folder, name)
        ]  # fmt: skip
        settled = settle(
            pl.concat([side.accepted for side in sides]),
            pl.concat([side.rejected for side in sides]),
            dataset,
        )
        accepted[name] = settled.accepted
        quarantined += [*(side.quarantined for side in sides), settled.quarantined]
    return accepted, pl.concat(quarantined)


@pytest.fixture(scope="module")
def billed(screened: tuple[dict[str, pl.DataFrame], pl.DataFrame]) -> BilledMonth:
    accepted = screened[0]
    sources = MonthSources(
        entries=accepted["time-entries"],
        clashes=staff_clashes(accepted["time-entries"]),
        readings=accepted["device-readings"],
        patients=accepted["patients"],
        coverage=accepted["coverage-windows"],
        practitioners=accepted["practitioners"],
        providers=accepted["billing-providers"],
        payers=accepted["payers"],
        charges=accepted["charges"],
    )
    return bill_month(sources, MONTH, load(), today=NOW.date())


def test_each_planted_row_fault_is_quarantined_under_its_rule(
    made: MonthMade, screened: tuple[dict[str, pl.DataFrame], pl.DataFrame]
) -> None:
    faults = made.planted.filter(pl.col("dataset").is_in(list(DATASETS)) & ~pl.col("kind").is_in(NOT_FAULTS))
    wanted = faults.select("dataset", row_key="key", rule="kind")
    assert len(wanted) > 30
    missed = wanted.join(screened[1], on=["dataset", "row_key", "rule"], how="anti")
    assert missed.is_empty(), missed


def test_nothing_but_the_planted_rows_is_quarantined(
    made: MonthMade, screened: tuple[dict[str, pl.DataFrame], pl.DataFrame]
) -> None:
    planted = made.planted.select("dataset", row_key="key")
    surplus = screened[1].join(planted, on=["dataset", "row_key"], how="anti")
    assert surplus.is_empty(), surplus


def test_each_planted_patient_is_held_for_exactly_its_fault(made: MonthMade, billed: BilledMonth) -> None:
    holds = billed.holds.filter(pl.col("patient_id").str.starts_with("PLANTED")).select(
        "patient_id", "reason"
    )
    wanted = made.planted.filter(dataset="holds").select(patient_id="key", reason="kind")
    assert_frame_equal(holds.sort("patient_id"), wanted.sort("patient_id"))


def test_every_hold_reason_a_recent_month_can_have_is_planted(made: MonthMade) -> None:
    reasons = pl.read_csv(Path("billing/reference/hold_reasons.csv"))["reason"]
    assert set(reasons) - set(made.planted.filter(dataset="holds")["kind"]) == {"TIMELY_FILING"}


def test_the_seconds_that_count_are_those_the_month_was_made_of(made: MonthMade, billed: BilledMonth) -> None:
    found = billed.patients.filter(pl.col("counted_seconds") > 0).select("patient_id", "counted_seconds")
    wanted = made.counted_seconds.sort("patient_id")
    compared = wanted.join(found, on="patient_id", how="left", suffix="_found")
    assert len(wanted) > 500
    assert compared.filter(
        pl.col("counted_seconds") != pl.col("counted_seconds_found").fill_null(0)
    ).is_empty()


def test_a_month_without_faults_has_no_odd_rows_and_no_planted_patients(tmp_path: Path) -> None:
    made = make_month(MONTH, patients=50, seed=3, out=tmp_path, has_faults=False)
    assert made.planted.is_empty()
    with place(tmp_path) as source:
        assert not [key for key in source.list_keys() if "/odd-" in key]
    assert not any(
        frame["patient_id"].str.contains("PLANTED").any() for _, frame in _objects(tmp_path, "patients")
    )


def test_the_well_are_held_for_nothing_but_too_little_time_or_no_call(billed: BilledMonth) -> None:
    of_the_well = billed.holds.filter(~pl.col("patient_id").str.starts_with("PLANTED"))
    assert set(of_the_well["reason"]) == {"BELOW_THRESHOLD", "NO_LIVE_INTERACTION", "UNITS_OVER_CAP"}


def test_the_same_arguments_give_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        make_month(MONTH, patients=60, seed=seed, out=tmp_path / name)
    digests = []
    for name in ("one", "two", "three"):
        with place(tmp_path / name) as source:
            whole = b"".join(key.encode() + source.get(key) for key in source.list_keys())
        digests.append(hashlib.sha256(whole).hexdigest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("file_format", ["parquet", "csv", "csv.gz", "ndjson"])
def test_each_format_says_the_same(file_format: str, tmp_path: Path) -> None:
    make_month(MONTH, patients=60, seed=5, out=tmp_path / "mixed")
    make_month(MONTH, patients=60, seed=5, out=tmp_path / "one", file_format=file_format)
    dataset = DATASETS["time-entries"]
    read = []
    for name in ("mixed", "one"):
        parts = [frame for key, frame in _objects(tmp_path / name, "time-entries") if "/part-" in key]
        accepted = [
            screen(
                RawPart(frame.select(*dataset.types), pl.int_range(len(frame), eager=True)),
                dataset, object_key="", now=NOW,
            ).accepted.select(*dataset.types)
            for frame in parts
        ]  # fmt: skip
        read.append(pl.concat(accepted).sort("entry_id"))
    assert_frame_equal(*read)


def test_two_columns_are_there_that_nobody_asked_for(made: MonthMade, folder: Path) -> None:
    found = {
        (name, column)
        for name, dataset in DATASETS.items()
        for _, frame in _objects(folder, name)
        for column in frame.columns
        if column not in dataset.types
    }
    assert found == {("time-entries", "app_version"), ("device-readings", "battery_percent")}


def test_member_ids_and_npis_are_well_formed_and_nobody_shares_one(made: MonthMade, folder: Path) -> None:
    patients = pl.concat(
        [
            frame.select("patient_id", "member_id", "payer_id", "rendering_npi")
            for _, frame in _objects(folder, "patients")
        ]
    )
    well = patients.filter(pl.col("patient_id").str.starts_with("P0"))
    assert len(well) == 600
    assert well["member_id"].is_unique().all()
    assert well.filter(pl.col("payer_id").str.contains(r"^\d+$"))["member_id"].str.contains(MBI_PATTERN).all()
    assert well.select(is_npi(pl.col("rendering_npi")).all()).item()


def test_nobody_is_in_two_places_at_once_but_where_it_was_planted(
    screened: tuple[dict[str, pl.DataFrame], pl.DataFrame],
) -> None:
    entries = screened[0]["time-entries"].filter(~pl.col("patient_id").str.starts_with("PLANTED"))
    for who in ("staff_id", "patient_id"):
        ordered = entries.sort(who, "started_at")
        overlaps = ordered.filter(pl.col("started_at") < pl.col("ended_at").shift(1).over(who))
        assert overlaps.is_empty()


def test_work_is_done_in_office_hours_of_the_practice(
    screened: tuple[dict[str, pl.DataFrame], pl.DataFrame],
) -> None:
    accepted = screened[0]
    zones = (
        accepted["patients"]
        .join(accepted["billing-providers"], left_on="billing_npi", right_on="npi")
        .select("patient_id", "timezone")
    )
    entries = (
        accepted["time-entries"]
        .filter(~pl.col("patient_id").str.starts_with("PLANTED"))
        .join(zones, on="patient_id")
    )
    for (zone,), part in entries.partition_by("timezone", as_dict=True).items():
        local = part["started_at"].dt.convert_time_zone(str(zone))
        assert local.dt.hour().is_between(8, 19).all()
        assert local.dt.weekday().is_between(1, 5).all()


def test_minutes_are_spread_as_practices_report_them(made: MonthMade) -> None:
    minutes = made.counted_seconds["counted_seconds"] // 60
    bounds = (1, 10, 20, 40, 60, 400)
    shares = [minutes.is_between(low, high - 1).sum() / len(minutes) for low, high in pairwise(bounds)]
    assert shares[2] == max(shares)
    assert all(share > 0.05 for share in shares)


def test_the_month_has_practices_of_many_kinds(folder: Path, made: MonthMade) -> None:
    providers = pl.concat([frame for key, frame in _objects(folder, "billing-providers") if "part" in key])
    well = providers.filter(~pl.col("name").str.starts_with("Practice"))
    assert well["mac_contract"].n_unique() >= 6
    assert {"America/Phoenix", "Pacific/Honolulu"} <= set(well["timezone"])
    assert set(well["participating"]) == set(well["qualifying_apm"]) == {"true", "false"}
    assert well.select(is_npi(pl.col("npi")).all()).item()


def test_synthea_people_keep_their_odd_names_and_missing_zip_codes(tmp_path: Path) -> None:
    people = _sample("synthea")
    made = make_month(
        MONTH, patients=40, seed=7, out=tmp_path, people_folder=people, has_faults=False, file_format="csv"
    )
    patients = pl.concat([frame for _, frame in _objects(tmp_path, "patients")]).sort("patient_id")
    source = pl.read_csv(people / "patients.csv", infer_schema=False)
    count = len(source)
    assert made.totals["patients"] == 40
    assert patients["last_name"].head(count).to_list() == source["LAST"].to_list()
    assert patients["postal_code"].head(count).to_list() == source["ZIP"].to_list()
    assert patients["birth_date"].head(count).to_list() == source["BIRTHDATE"].to_list()
    assert set(patients["state"].head(count)) == {"MA"}


@pytest.mark.parametrize("file", ["home_bp_one_person.csv", "cgm_five_people.csv"])
def test_real_readings_keep_their_spacing(file: str, tmp_path: Path) -> None:
    path = _sample(f"rpm_readings/{file}")
    make_month(
        MONTH, patients=40, seed=7, out=tmp_path, readings_file=path, has_faults=False, file_format="parquet"
    )
    found = pl.concat([frame for _, frame in _objects(tmp_path, "device-readings")])
    real = pl.read_csv(path)
    clock = next(name for name in real.columns if name.startswith("reading_time"))
    if "subject" in real.columns:
        real = real.filter(pl.col("subject") == real["subject"].min())
    steps = real[clock].str.to_datetime(time_unit="us").sort().diff().drop_nulls()
    taken = found.filter(patient_id="P0000001")["measured_at"].sort().diff().drop_nulls()
    assert len(taken) > 50
    assert taken.to_list() == steps.tail(len(taken)).to_list()
    assert (found.filter(patient_id="P0000001")["measured_at"] >= datetime(2026, 10, 31, tzinfo=UTC)).any()


def _sample(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


def test_a_month_goes_to_a_bucket_as_it_goes_to_a_folder(
    s3: S3Server, s3_bucket: str, tmp_path: Path
) -> None:
    uri = f"s3://{s3_bucket}/source"
    for out in (uri, str(tmp_path)):
        main(["--patients", "45", "--seed", "9", "--out", out, "--faults", "none"])
    with place(uri) as bucket, place(tmp_path) as folder:
        assert bucket.list_keys() == folder.list_keys() != []
        assert all(bucket.get(key) == folder.get(key) for key in folder.list_keys())
