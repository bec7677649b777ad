"""Logs and figures: lines a machine can read, gauges an alarm can watch, and no person in either."""

import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.addresses import Pin
from schemas.errors import StepFailed
from schemas.operations import ClaimsSeen, FilesSeen, Status, Waiting
from schemas.settings import load_settings
from tasks.step import LOG, step
from tasks.telemetry import JsonLines, shard_of, write_metrics

AT = datetime(2026, 11, 10, tzinfo=UTC)


@pytest.fixture
def lines() -> "Lines":
    return Lines()


class Lines(logging.Handler):
    """Keeps what is logged, as the console would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.written: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(json.loads(self.format(record)))


def test_a_line_of_a_step_names_the_step_and_its_shard(lines: Lines) -> None:
    @step("settle-entries")
    def settle(part: int) -> None:
        LOG.info("%d rows", 12)

    LOG.addHandler(lines)
    try:
        settle.fn(7)
        LOG.warning("between the steps")
    finally:
        LOG.removeHandler(lines)
    within, between = lines.written
    assert (within["message"], within["step"], within["shard"]) == ("12 rows", "settle-entries", "7")
    assert (within["level"], within["logger"]) == ("info", "rpmclaims")
    assert datetime.fromisoformat(within["at"]).tzinfo == UTC
    assert "step" not in between


def test_of_an_exception_a_line_says_the_kind_and_not_the_text(lines: Lines) -> None:
    try:
        raise ValueError("Jane Doe")
    except ValueError:
        record = LOG.makeRecord("prefect", logging.ERROR, __file__, 1, "it broke", (), sys.exc_info())
    lines.handle(record)
    assert lines.written[0]["exception"] == "ValueError"
    assert "Jane" not in json.dumps(lines.written)


def test_a_step_that_breaks_names_its_shard() -> None:
    @step("bill-bucket")
    def breaks(bucket: int) -> None:
        raise KeyError("Jane Doe")

    with pytest.raises(StepFailed, match="bill-bucket of 3") as failure:
        breaks.fn(3)
    assert "Jane" not in str(failure.value)


def test_a_shard_is_named_after_its_number_its_file_or_its_first_object() -> None:
    pins = [Pin(dataset="charges", key=f"charges/{n}.csv", uri="u", version="v", size=1) for n in range(3)]
    assert shard_of(4) == "4"
    assert shard_of(pins) == "charges/0.csv and 2 more"
    assert shard_of([pins[0]]) == "charges/0.csv"
    assert shard_of([]) is None
    assert shard_of(object()) is None


def test_the_gauges_can_be_read_by_a_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "collector" / "rpmclaims.prom"
    monkeypatch.setenv("RPMCLAIMS_METRICS_FILE", str(file))
    status = Status(
        at=AT,
        runs=[],
        files=[FilesSeen(direction="out", month="2026-10", kind="837P", state="sent", files=2)] * 2,
        claims=[ClaimsSeen(state="sent", claims=5, charged=Decimal("276.25"))],
        schedules=None,
        waiting=[
            Waiting(
                kind="missing_835",
                what="missing_835",
                waits_for="billing",
                count=2,
                money=Decimal("10.50"),
                next_step="…",
            )
        ],
        open_money=Decimal("99.99"),
        oldest_unanswered_at=AT - timedelta(days=3),
    )
    write_metrics(status, load_settings())
    read = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }
    assert read["rpmclaims_claims", "sent"] == 5
    assert read["rpmclaims_claims_charge_dollars", "sent"] == 276.25
    assert read["rpmclaims_files", "out", "837P", "sent"] == 4
    assert read["rpmclaims_waiting", "missing_835", "billing"] == 2
    assert read["rpmclaims_waiting_dollars", "missing_835", "billing"] == 10.5
    assert read[("rpmclaims_open_dollars",)] == 99.99
    assert read[("rpmclaims_oldest_unanswered_file_age_seconds",)] == 3 * 24 * 3600
    assert [path.name for path in file.parent.iterdir()] == [file.name]
