"""Rows that every rule accepts, one per dataset, for tests to spoil one cell at a time."""

from datetime import UTC, datetime
from typing import Any

import polars as pl

from schemas.datasets import DATASETS
from schemas.quarantine import RawPart, Screened, screen

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATIENTS = pl.Series(["P1", "P2"])

GOOD: dict[str, dict[str, str | None]] = {
    "time-entries": {
        "entry_id": "E1", "patient_id": "P1", "program": "RPM", "staff_id": "S1",
        "staff_role": "clinical_staff",
        "started_at": "2026-10-05T09:00:00-05:00", "ended_at": "2026-10-05T09:20:00-05:00",
        "activity": "data_review", "method": "phone", "live_interaction": "true", "note_ref": "N1",
        "care_plan_updated_at": None, "capture": "timer", "recorded_at": "2026-10-05T09:21:00-05:00",
    },
    "device-readings": {
        "reading_id": "R1", "patient_id": "P1", "device_id": "D1", "measured_at": "2026-10-05T08:00:00-05:00",
        "received_at": "2026-10-05T08:00:05-05:00", "metric": "systolic", "value": "128", "unit": "mmHg",
        "capture": "automatic",
    },
    "patients": {
        "patient_id": "P1", "member_id": "1EG4TE5MK73", "last_name": "Rossi", "first_name": "Ada",
        "middle_name": None,
        "birth_date": "1950-02-03", "sex": "F", "address_line": "1 Elm St", "city": "Austin", "state": "TX",
        "postal_code": "78701", "payer_id": "MEDB", "billing_npi": "1234567893",
        "rendering_npi": "1245319599", "place_of_service": "11",
        "diagnosis_codes": "I10;E11.9", "consent_date": "2026-01-02",
        "order_date": "2026-01-02", "prior_visit_date": "2025-12-01", "care_plan_id": "C1",
        "enrolled_on": "2026-01-05", "disenrolled_on": None, "died_on": None, "medical_record_number": None,
    },
    "coverage-windows": {"patient_id": "P1", "kind": "hospice", "starts_on": "2026-10-01", "ends_on": None},
    "practitioners": {
        "npi": "1245319599", "last_name": "Weiss", "first_name": "Omar", "taxonomy_code": "207RC0000X",
    },
    "billing-providers": {
        "npi": "1234567893", "name": "Heart Group", "tax_id": "741234567", "taxonomy_code": "207RC0000X",
        "address_line": "9 Oak Ave", "city": "Austin", "state": "TX", "postal_code": "787010001",
        "mac_contract": "04412", "locality": "31", "timezone": "America/Chicago", "participating": "true",
        "qualifying_apm": "false", "contact_name": "Desk", "contact_phone": "5125550100",
    },
    "payers": {
        "payer_id": "MEDB", "name": "Medicare", "kind": "medicare_part_b", "claim_filing_code": "MB",
        "submitter_id": "SUB", "receiver_id": "RCV", "receiver_name": "MAC", "add_on_lines": "per_unit",
        "repeat_modifier": None, "date_of_service": "threshold_date", "max_claims_per_transaction": "5000",
        "usage": "P", "bill_device_supply": "false", "count_messages": "true",
    },
    "charges": {"billing_npi": "*", "code": "99457", "amount": "75.00", "effective_from": "2026-01-01"},
}  # fmt: skip


def raw(dataset: str, *changes: dict[str, Any]) -> pl.DataFrame:
    """Make one text row per change of the good row; no change makes one good row."""
    return pl.DataFrame(
        [{**GOOD[dataset], **change} for change in changes or ({},)],
        schema=dict.fromkeys(GOOD[dataset], pl.String),
    )


def screened(dataset: str, frame: pl.DataFrame, object_key: str = "x.csv") -> Screened:
    """Screen a frame as one object whose first row is number 1."""
    numbers = pl.int_range(1, frame.height + 1, eager=True)
    return screen(
        RawPart(frame, numbers), DATASETS[dataset], object_key=object_key, now=NOW, patient_ids=PATIENTS
    )


def reasons(found: Screened) -> list[tuple[str | None, str | None, str]]:
    """Say (row_key, column, rule) of each quarantine row."""
    return found.quarantined.select("row_key", "column", "rule").rows()
