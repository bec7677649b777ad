"""A ledger with a payer's answers: one claim paid, one priced as in a facility, one denied, one silent."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import sqlalchemy as sa

from tasks import database
from tasks.claim_states import TABLES
from tasks.ledger import Ledger
from tests.tasks.made_claims import AMOUNTS, AT, MONEY, OCTOBER, SOURCE, month

PAID_ON = date(2026, 11, 20)
PAYER = "1512345678"


def answered(ledger: Ledger, at: datetime) -> list[str]:
    """Fill the ledger; returns the four claim numbers."""
    claims, lines = month(4)
    estimates = ("65.26", "51.17", "13.05")
    one_line = {name: pl.lit(Decimal(value), MONEY) for name, value in zip(AMOUNTS, estimates, strict=True)}
    place = {"mac_contract": pl.lit("01112"), "locality": pl.lit("05")}
    charge = pl.lit(Decimal("95.00"), MONEY)
    claims = claims.with_columns(**place, **one_line, total_charge=charge, line_count=pl.lit(1, pl.Int64))
    lines = lines.filter(line_number=1).with_columns(charge=charge, **one_line)
    ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)
    file = ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)["interchange_id"][0]
    ledger.record_written(file, uri="s3://o/f.837", sha256="0" * 64, size=1)
    ledger.record_sending(file)
    ledger.record_sent(file, receipt={}, at=AT)
    numbers = claims["claim_number"].sort().to_list()
    ledger.transition(pl.Series(numbers), "accepted", actor="collection", dedupe="277ca:1", at=at)
    ledger.transition(pl.Series(numbers[:3]), "adjudicated", actor="collection", dedupe="835:1", at=at)
    _insert(ledger, at)
    return numbers


def _insert(ledger: Ledger, at: datetime) -> None:
    """Write what collection would: a file, a payment of three claims, their lines and their postings."""
    with database.writing(ledger.engine) as connection:

        def add(table: str, *rows: dict[str, Any]) -> None:
            connection.execute(sa.insert(TABLES[table]), list(rows))

        file = {"sha256": "a", "uri": "u", "size": 1, "received_at": at, "kind": "835", "origin": "test"}
        add("inbound_file", {"id": 1, "name": "1.835", "state": "posted", "content_sha256": "c", **file})
        payment = {"trace_number": "93001", "originator_id": PAYER, "payment_date": PAID_ON, "method": "ACH"}
        same = {"inbound_file_id": 1, "transaction_index": 1, "segment": 3, "content_sha256": "c"}
        add(
            "remittance",
            {
                "id": 1,
                "amount": Decimal("74.28"),
                "is_balanced": True,
                "state": "posted",
                "identity_key": "k",
                **payment,
                **same,
            },
        )
        charge = {"remittance_id": 1, "segment": 9, "status_code": "1", "charge": Decimal("95.00")}
        whose = {"matched_by": "number", "matched_at": at, "is_reversal": False, "is_forwarded": False}
        add(
            "remittance_claim",
            *(
                {"id": n, "claim_index": n, "claim_id": n, "paid": Decimal(paid), **charge, **whose}
                for n, paid in ((1, "51.17"), (2, "23.11"), (3, "0.00"))
            ),
        )
        line = {"line_index": 1, "segment": 10, "code": "99457", "modifiers": "", "charge": Decimal("95.00")}
        add(
            "remittance_line",
            *(
                {
                    "id": n,
                    "remittance_claim_id": n,
                    "paid": Decimal("0.00"),
                    "allowed": Decimal(allowed) if allowed else None,
                    "units": "1",
                    "claim_line_number": 1,
                    "is_denied": allowed is None,
                    **line,
                }
                for n, allowed in ((1, "65.26"), (2, "29.47"), (3, None))
            ),
        )
        denial = {"remittance_claim_id": 3, "segment": 11, "number": 1, "remittance_line_id": 3}
        reason = {"group_code": "CO", "reason_code": "109"}
        add("remittance_adjustment", {"amount": Decimal("95.00"), **denial, **reason})
        add("remittance_remark", {"code": "N193", **denial})
        posted = (
            (1, "payment", "51.17", None),
            (1, "patient_responsibility", "13.05", "2"),
            (1, "sequestration", "1.04", "253"),
            (1, "contractual", "29.74", "45"),
            (2, "payment", "23.11", None),
            (2, "patient_responsibility", "5.89", "2"),
            (2, "sequestration", "0.47", "253"),
            (2, "contractual", "65.53", "45"),
            (3, "denial", "95.00", "109"),
        )
        add(
            "posting",
            *(
                {
                    "posted_on": PAID_ON,
                    "recorded_at": at,
                    "account": account,
                    "amount": Decimal(amount),
                    "claim_id": claim,
                    "line_number": 1,
                    "remittance_id": 1,
                    "remittance_claim_id": claim,
                    "group_code": "CO",
                    "reason_code": why,
                    "dedupe_key": f"{claim}:{account}",
                }
                for claim, account, amount, why in posted
            ),
        )
