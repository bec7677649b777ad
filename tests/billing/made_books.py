"""Made-up books: claims of one October, and what payers answered to them, as the ledger would show them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from billing.books import Books
from schemas.columns import MONEY
from schemas.columns import UTC as UTC_TYPE

OCTOBER = date(2026, 10, 1)
AS_OF = date(2026, 12, 31)
SENT = datetime(2026, 11, 3, 10, tzinfo=UTC)
PAID_ON = date(2026, 11, 20)

TEXT, NUMBER, DAY, FLAG = pl.String, pl.Int64, pl.Date, pl.Boolean
SCHEMAS: dict[str, dict[str, Any]] = {
    "claims": {
        "claim_id": NUMBER, "claim_number": TEXT, "version": NUMBER, "frequency_code": TEXT,
        "payer_id": TEXT, "payer_kind": TEXT, "mac_contract": TEXT, "locality": TEXT,
        "place_of_service": TEXT, "service_month": DAY, "date_of_service": DAY, "total_charge": MONEY,
        "interchange_id": NUMBER, "created_at": UTC_TYPE, "sent_at": UTC_TYPE,
    },
    "lines": {
        "claim_id": NUMBER, "line_number": NUMBER, "code": TEXT, "modifiers": TEXT, "units": NUMBER,
        "date_of_service": DAY, "charge": MONEY, "allowed_estimate": MONEY, "medicare_estimate": MONEY,
        "patient_estimate": MONEY,
    },
    "events": {"event_id": NUMBER, "claim_id": NUMBER, "at": UTC_TYPE, "actor": TEXT, "to_state": TEXT},
    "postings": {
        "posting_id": NUMBER, "posted_on": DAY, "recorded_at": UTC_TYPE, "account": TEXT, "amount": MONEY,
        "claim_id": NUMBER, "line_number": NUMBER, "remittance_id": NUMBER, "remittance_claim_id": NUMBER,
        "group_code": TEXT, "reason_code": TEXT, "reference": TEXT,
    },
    "files": {
        "file_id": NUMBER, "name": TEXT, "kind": TEXT, "state": TEXT, "received_at": UTC_TYPE,
        "summary": TEXT,
    },
    "answers": {
        "answer_id": NUMBER, "file_id": NUMBER, "kind": TEXT, "level": TEXT, "source": TEXT,
        "interchange_id": NUMBER, "claim_id": NUMBER, "line_number": NUMBER, "claim_number": TEXT,
        "codes": TEXT, "outcome": TEXT, "charge": MONEY, "is_matched": FLAG, "received_at": UTC_TYPE,
    },
    "remittances": {
        "remittance_id": NUMBER, "file_id": NUMBER, "payer_name": TEXT, "payer_id": TEXT, "payee_npi": TEXT,
        "trace_number": TEXT, "originator_id": TEXT, "amount": MONEY, "method": TEXT, "payment_date": DAY,
        "state": TEXT, "difference": MONEY, "received_at": UTC_TYPE,
    },
    "remittance_claims": {
        "remittance_claim_id": NUMBER, "remittance_id": NUMBER, "claim_number": TEXT, "status_code": TEXT,
        "charge": MONEY, "paid": MONEY, "claim_id": NUMBER, "matched_by": TEXT, "is_reversal": FLAG,
        "is_forwarded": FLAG, "suggested_claim_number": TEXT,
    },
    "remittance_lines": {
        "remittance_line_id": NUMBER, "remittance_claim_id": NUMBER, "code": TEXT, "allowed": MONEY,
        "units": TEXT, "claim_line_number": NUMBER, "is_denied": FLAG,
    },
    "adjustments": {
        "remittance_claim_id": NUMBER, "remittance_line_id": NUMBER, "group_code": TEXT, "reason_code": TEXT,
        "amount": MONEY,
    },
    "remarks": {"remittance_claim_id": NUMBER, "remittance_line_id": NUMBER, "code": TEXT},
    "interchanges": {
        "interchange_id": NUMBER, "file_name": TEXT, "claim_count": NUMBER, "total_charge": MONEY,
        "state": TEXT, "sent_at": UTC_TYPE,
    },
    "corrections": {
        "correction_id": NUMBER, "claim_id": NUMBER, "found_at": UTC_TYPE, "kind": TEXT, "was": TEXT,
        "now": TEXT,
    },
    "runs": {"run_id": TEXT, "month": DAY, "source": TEXT, "finished_at": UTC_TYPE, "summary": TEXT},
    "deposits": {
        "deposit_id": NUMBER, "deposited_on": DAY, "amount": MONEY, "trace_number": TEXT, "company_id": TEXT,
        "description": TEXT,
    },
}  # fmt: skip


class Maker:
    """Collects rows, each with sensible defaults, and makes `Books` of them."""

    def __init__(self, as_of: date = AS_OF) -> None:
        self.as_of = as_of
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}

    def add(self, table: str, **values: Any) -> int:
        """Add a row; returns its number, which is its id as well."""
        rows = self.rows[table]
        key = next(iter(SCHEMAS[table]))
        rows.append({key: len(rows) + 1, **values} if key.endswith("_id") and key not in values else values)
        unknown = rows[-1].keys() - SCHEMAS[table].keys()
        assert not unknown, unknown
        return len(rows)

    def claim(self, state: str = "adjudicated", **values: Any) -> int:
        """Add a claim of October that was sent on 3 November, and its events."""
        states = {"built": ("built",), "sent": ("built", "sent")}.get(state, ("built", "sent", state))
        claim_id = len(self.rows["claims"]) + 1
        self.add(
            "claims",
            **{
                "claim_number": f"R2610CLAIM{claim_id:06}1",
                "version": 1,
                "frequency_code": "1",
                "payer_id": "PARTB",
                "payer_kind": "medicare_part_b",
                "mac_contract": "01112",
                "locality": "05",
                "place_of_service": "11",
                "service_month": OCTOBER,
                "date_of_service": date(2026, 10, 20),
                "total_charge": Decimal("0.00"),
                "interchange_id": None if state == "built" else 1,
                "created_at": SENT,
                "sent_at": None if state == "built" else SENT,
                **values,
            },
        )
        for to_state in states:
            self.add("events", claim_id=claim_id, at=SENT, actor="month_end", to_state=to_state)
        return claim_id

    def line(self, claim_id: int, number: int = 1, **values: Any) -> None:
        """Add a line: 99457 in San Francisco, estimated with the deductible met."""
        self.add(
            "lines",
            **{
                "claim_id": claim_id,
                "line_number": number,
                "code": "99457",
                "modifiers": "",
                "units": 1,
                "date_of_service": date(2026, 10, 20),
                "charge": Decimal("95.00"),
                "allowed_estimate": Decimal("60.00"),
                "medicare_estimate": Decimal("47.04"),
                "patient_estimate": Decimal("12.00"),
                **values,
            },
        )
        charge = self.rows["lines"][-1]["charge"]
        self.rows["claims"][claim_id - 1]["total_charge"] += charge

    def post(
        self, account: str, amount: str, claim_id: int | None, line: int | None = 1, **values: Any
    ) -> None:
        """Add a posting of the day the payer paid."""
        self.add(
            "postings",
            **{
                "posted_on": PAID_ON,
                "recorded_at": datetime.combine(PAID_ON, datetime.min.time(), UTC),
                "account": account,
                "amount": Decimal(amount),
                "claim_id": claim_id,
                "line_number": line,
                "remittance_id": 1,
                "remittance_claim_id": claim_id,
                **values,
            },
        )

    def answer(self, claim_id: int, line: int = 1, *, allowed: str | None = None, units: str = "1") -> None:
        """Add what an 835 says of a line beside its money."""
        remittance_claim = next(
            (
                row["remittance_claim_id"]
                for row in self.rows["remittance_claims"]
                if row["claim_id"] == claim_id and not row["is_reversal"]
            ),
            None,
        )
        if remittance_claim is None:
            remittance_claim = self.add(
                "remittance_claims",
                remittance_id=1,
                claim_number=self.rows["claims"][claim_id - 1]["claim_number"],
                status_code="1",
                charge=Decimal("95.00"),
                paid=Decimal("0.00"),
                claim_id=claim_id,
                matched_by="number",
                is_reversal=False,
                is_forwarded=False,
            )
        self.add(
            "remittance_lines",
            remittance_claim_id=remittance_claim,
            allowed=None if allowed is None else Decimal(allowed),
            units=units,
            claim_line_number=line,
            is_denied=False,
        )

    def remit(self, claim_id: int, status: str, *, payer: str = "PARTB", on: date = PAID_ON) -> int:
        """Add a payer's answer to a claim, a payment of its own; its postings and lines name the number."""
        payment = self.add("remittances", payer_id=payer, payment_date=on, received_at=SENT, state="posted")
        return self.add(
            "remittance_claims",
            remittance_id=payment,
            claim_number=self.rows["claims"][claim_id - 1]["claim_number"],
            status_code=status,
            charge=Decimal("95.00"),
            paid=Decimal("0.00"),
            claim_id=claim_id,
            matched_by="number",
            is_reversal=status == "22",
            is_forwarded=status in ("19", "20", "21", "23"),
        )

    def books(self) -> Books:
        """Make the frames."""
        frames = {
            name: pl.DataFrame(self.rows[name], schema=schema, orient="row")
            for name, schema in SCHEMAS.items()
        }
        return Books(as_of=self.as_of, **frames)
