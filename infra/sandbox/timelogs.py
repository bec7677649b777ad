"""Time logs: what the care team recorded in the sample month.

`infra.sandbox.month` writes them as time-entries. No second of a patient or of a staff member is logged
twice here, so the seconds that count are known beforehand (`counted_seconds`): the tests hold the
product against them. Overlaps, gaps and nonsense are planted by `infra.sandbox.faults`.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl

# How long patients were cared for in the month: share of patients, from and to minutes. After the spread
# that practices report: most reach the first twenty minutes, few the cap.
_MINUTES: Final = (
    (0.07, 0, 0), (0.10, 1, 10), (0.17, 10, 20), (0.36, 20, 40), (0.18, 40, 60), (0.07, 60, 80),
    (0.03, 80, 100), (0.02, 100, 150),
)  # fmt: skip
# What one stretch of counted work is: share, activity, method, whether it may be a live talk.
_WORK: Final = (
    (0.38, "data_review", "none", False),
    (0.22, "patient_contact", "phone", True),
    (0.05, "patient_contact", "video", True),
    (0.09, "patient_contact", "message", False),
    (0.03, "patient_contact", "portal", False),
    (0.05, "caregiver_contact", "phone", True),
    (0.05, "care_plan_change", "none", False),
    (0.06, "care_coordination", "phone", False),
    (0.07, "documentation", "none", False),
)
COLUMNS: Final = (
    "entry_id", "patient_id", "program", "staff_id", "staff_role", "started_at", "ended_at", "activity",
    "method", "live_interaction", "note_ref", "care_plan_updated_at", "capture", "recorded_at",
)  # fmt: skip
_OTHER_PROGRAMS: Final = ("CCM", "CCM", "CCM", "PCM", "TCM", "BHI", "OTHER")
_UNCOUNTED_ACTIVITIES: Final = ("device_setup", "technical_support", "scheduling", "other")
_SHORTEST_SECONDS: Final = 30
_OPENS_SECONDS: Final = 8 * 3600
_PATIENTS_PER_NURSE: Final = 70
_PATIENTS_PER_PHYSICIAN: Final = 600


@dataclass(frozen=True)
class TimeLogs:
    """A month of work.

    Attributes:
        entries: The columns of `time-entries`, with utc_offset (a Duration) besides.
        counted_seconds: patient_id, counted_seconds: what counts, where the payer lets messages count.
    """

    entries: pl.DataFrame
    counted_seconds: pl.DataFrame


def working_days(month: date) -> np.ndarray:
    """List the Mondays to Fridays of a month."""
    days = np.datetime64(month) + np.arange(monthrange(month.year, month.month)[1])
    return np.asarray(days[np.is_busday(days)])


def make_time_logs(rng: np.random.Generator, patients: pl.DataFrame, month: date) -> TimeLogs:
    """Make a month of entries of every programme for patients that have timezone and ordinal."""
    days = working_days(month)
    seconds = _monthly_seconds(rng, len(patients))
    count = np.clip(np.ceil(seconds / rng.uniform(360, 840, len(seconds))), 0, len(days) - 4).astype(np.int64)
    count = np.maximum(count, np.ceil(seconds / 3000).astype(np.int64))
    others = rng.choice([0, 1, 2], len(patients), p=[0.80, 0.15, 0.05])
    owner = np.repeat(np.arange(len(patients)), count + others)
    turn = np.arange(len(owner)) - np.repeat(np.cumsum(count + others) - count - others, count + others)
    is_rpm = turn < count[owner]
    duration = np.where(
        is_rpm, _split(rng, seconds, count, owner, is_rpm), rng.integers(120, 1200, len(owner))
    )
    entries = _describe(
        rng,
        patients,
        pl.DataFrame({"owner": owner, "turn": turn, "seconds": duration, "is_rpm": is_rpm}),
        seconds,
    )
    # A patient's entries lie on different days, so they never overlap.
    steps = np.array([step for step in (1, 2, 3, 5, 7, 11, 13) if np.gcd(step, len(days)) == 1])
    day = (
        rng.integers(0, len(days), len(patients))[owner] + turn * rng.choice(steps, len(patients))[owner]
    ) % len(days)
    entries = schedule(rng, entries.with_columns(day=pl.Series(days[day])))
    counts = (
        (pl.col("program") == "RPM")
        & (pl.col("staff_role") != "administrative")
        & ~pl.col("activity").is_in(_UNCOUNTED_ACTIVITIES)
    )
    counted = entries.filter(counts).group_by("patient_id").agg(counted_seconds=pl.col("seconds").sum())
    return TimeLogs(finish(rng, entries), counted.sort("patient_id"))


def _monthly_seconds(rng: np.random.Generator, patients: int) -> np.ndarray:
    share = np.array([row[0] for row in _MINUTES])
    low, high = (np.array([row[at] for row in _MINUTES]) * 60 for at in (1, 2))
    rung = rng.choice(len(share), patients, p=share / share.sum())
    return np.asarray(low[rung] + (rng.random(patients) * (high - low)[rung]).astype(np.int64))


def _split(
    rng: np.random.Generator, seconds: np.ndarray, count: np.ndarray, owner: np.ndarray, is_rpm: np.ndarray
) -> np.ndarray:
    """Split each patient's seconds over the patient's entries, so that they add up exactly."""
    weight = np.where(is_rpm, rng.gamma(3.0, 1.0, len(owner)) + 0.2, 0.0)
    spare = seconds - count * _SHORTEST_SECONDS
    share = weight / np.maximum(np.bincount(owner, weight, len(seconds)), 1e-9)[owner]
    part = np.where(is_rpm, np.floor(share * spare[owner]).astype(np.int64) + _SHORTEST_SECONDS, 0)
    missing = seconds - np.bincount(owner, part, len(seconds)).astype(np.int64)
    first = np.concatenate([[True], owner[1:] != owner[:-1]]) & is_rpm if len(owner) else is_rpm
    return part + np.where(first, missing[owner], 0)


def _describe(
    rng: np.random.Generator, patients: pl.DataFrame, entries: pl.DataFrame, seconds: np.ndarray
) -> pl.DataFrame:
    """Say what was done in each entry, how and by whom."""
    rows = len(entries)
    turn, is_rpm = entries["turn"].to_numpy(), entries["is_rpm"].to_numpy()
    owner = entries["owner"].to_numpy()
    work = rng.choice(len(_WORK), rows, p=[row[0] for row in _WORK])
    # Most patients get one answered call; without it their ten minutes or more cannot be billed.
    reached = (rng.random(len(patients)) < 0.94) | (seconds < 600)
    work = np.where((turn == 0) & reached[owner], 1, work)
    is_live = (
        np.array([row[3] for row in _WORK])[work] & reached[owner] & ((turn == 0) | (rng.random(rows) < 0.6))
    )
    # Now and then somebody of the office, or work that never counts.
    is_aside = ~is_rpm & (rng.random(rows) < 0.35)
    is_office = is_aside & (rng.random(rows) < 0.5)
    by = rng.random(rows)
    role = np.select(
        [is_office, by < 0.03, by < 0.09], ["administrative", "physician", "qhp"], "clinical_staff"
    )
    each = np.select(
        [role == "clinical_staff", role == "administrative"],
        [_PATIENTS_PER_NURSE, _PATIENTS_PER_PHYSICIAN],
        _PATIENTS_PER_PHYSICIAN,
    )
    who = patients.select("patient_id", "billing_npi", "timezone", "ordinal")[owner.tolist()]
    aside = rng.choice(_UNCOUNTED_ACTIVITIES, rows)
    return entries.hstack(who).with_columns(
        program=pl.Series(np.where(is_rpm | is_aside, "RPM", rng.choice(_OTHER_PROGRAMS, rows))),
        staff_role=pl.Series(role),
        staff_id=pl.format(
            "{}-{}-{}", pl.col("billing_npi").str.slice(6), pl.Series(role).str.head(3).str.to_uppercase(),
            pl.col("ordinal") // pl.Series(each),
        ),
        activity=pl.Series(np.where(is_aside, aside, np.array([row[1] for row in _WORK])[work])),
        method=pl.Series(np.where(is_aside, "none", np.array([row[2] for row in _WORK])[work])),
        live_interaction=pl.Series(is_live & ~is_aside),
        capture=pl.Series(np.where(rng.random(rows) < 0.85, "timer", "manual")),
    )  # fmt: skip


def schedule(rng: np.random.Generator, entries: pl.DataFrame) -> pl.DataFrame:
    """Lay each staff member's entries of a day one after the other, from eight o'clock on.

    Takes staff_id, day, seconds and timezone; adds started_at, ended_at (UTC) and utc_offset.
    """
    pause = pl.Series("pause", rng.integers(45, 420, len(entries)))
    before = (pl.col("seconds") + pl.col("pause")).cum_sum().over("staff_id", "day") - pl.col("seconds")
    local = pl.col("day").cast(pl.Datetime("us")) + pl.duration(seconds=_OPENS_SECONDS + before)
    laid = entries.with_columns(pause).with_columns(local=local)
    # One zone at a time: a column of Polars has one zone.
    zones = [
        part.with_columns(
            started_at=pl.col("local").dt.replace_time_zone(str(zone)).dt.convert_time_zone("UTC")
        )
        for (zone,), part in laid.partition_by("timezone", as_dict=True).items()
    ]
    return pl.concat(zones).with_columns(
        ended_at=pl.col("started_at") + pl.duration(seconds="seconds"),
        utc_offset=pl.col("local") - pl.col("started_at").dt.replace_time_zone(None),
    )


def finish(rng: np.random.Generator, entries: pl.DataFrame, prefix: str = "E") -> pl.DataFrame:
    """Number the entries in the order in which they were written down, and shape them as `time-entries`."""
    late = pl.Series("late", rng.integers(5, 900, len(entries)))
    recorded_at = pl.col("ended_at") + pl.duration(seconds="late")
    written = (
        entries.with_columns(late).with_columns(recorded_at=recorded_at).sort("recorded_at", "patient_id")
    )
    number = pl.int_range(1, pl.len() + 1).cast(pl.String).str.zfill(9)
    return written.with_columns(
        entry_id=pl.concat_str(pl.lit(prefix), number),
        note_ref=pl.concat_str(pl.lit(f"NOTE-{prefix}"), number),
        care_plan_updated_at=pl.when(pl.col("activity") == "care_plan_change").then("ended_at"),
    ).select(*COLUMNS, "utc_offset")


def make_stray_logs(
    rng: np.random.Generator, patients: pl.DataFrame, days: np.ndarray, prefix: str
) -> pl.DataFrame:
    """Make one entry for each patient on some of these days: work of another month, which must not count."""
    rows = len(patients)
    strays = pl.DataFrame(
        {"owner": np.arange(rows), "turn": 0, "seconds": rng.integers(120, 1500, rows), "is_rpm": True}
    )
    described = _describe(rng, patients, strays, strays["seconds"].to_numpy())
    dated = described.with_columns(day=pl.Series(days[rng.integers(0, len(days), rows)]))
    return finish(rng, schedule(rng, dated), prefix)
