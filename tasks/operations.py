"""Operations: what people decide about claims that left, checked and written down with who, when and why.

The console calls these through `flows.decisions`; they start no flow. What a decision leads to happens where
it always does: a successor of a claim is built and filed by the next month-end and sent by the submission.

Source: X12_837P_GUIDE §5: Medicare Part B knows no replacement, only a reopening at the contractor; a claim
that never reached adjudication, or came back unprocessable (MA130), goes again as a new one.
"""

import json
from datetime import date
from decimal import Decimal
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy import RowMapping

import schemas.ledger_answers  # noqa: F401  its tables belong to the ledger
from billing.reference.tables import in_effect
from schemas.decisions import Corrected, Resent
from schemas.errors import Refused
from schemas.ledger import ADJUDICATED, BUILT, ENDED, REJECTED
from schemas.settings import load_settings
from tasks import database
from tasks.approvals import signature
from tasks.claim_states import CLAIM, KEY, REPLACEMENT, TABLES, VOIDING
from tasks.filing import open_ledger
from tasks.ledger import CORRECTION
from tasks.reference import reference
from tasks.versions import CLAIM_LINE, succeed

REMITTANCE_CLAIM: Final = TABLES["remittance_claim"]
REMITTANCE_REMARK: Final = TABLES["remittance_remark"]
PART_B: Final = "medicare_part_b"
UNPROCESSABLE: Final = "MA130"
ATTEMPTS: Final = 3  # the first and two more; what fails three times needs another remedy
LINE_FACTS: Final = ("line_number", "code", "modifiers", "units", "date_of_service", "charge")

_FILED_NEXT: Final = "The next month-end of {month} files it, and `rpmclaims submit` delivers it."


def correct(claim_number: str, is_void: bool, by: str | None, why: str | None) -> Corrected:
    """Correct a claim that its payer has decided: replace or void it, or say what a reopening must ask for.

    Raises:
        Refused: If the claim is not in a state to be corrected, or there is nothing to correct.
    """
    settings = load_settings()
    with open_ledger() as ledger, database.writing(ledger.engine) as connection:
        claim = _live_claim(connection, claim_number)
        _require_decided(connection, claim)
        correction = _open_correction(connection, claim["id"])
        _require_cause(claim, correction, is_void)
        is_part_b = claim["payer_kind"] == PART_B
        decided = by is not None or why is not None or not is_part_b
        new_number = None
        if decided:
            actor, reason = signature(by or settings.operator), _reason(why)
            if not is_part_b:
                _require_payer_number(claim)
                frequency = VOIDING if is_void else REPLACEMENT
                at = settings.clock()
                new_number = succeed(connection, claim, frequency, by=actor, why=reason, at=at)
            _close(connection, correction, actor)
        return _corrected(connection, claim, correction, is_void, new_number)


def resend(claim_number: str, by: str, why: str) -> Resent:
    """Send a claim once more as a new one, where its payer never decided it.

    Raises:
        Refused: If the payer has it, or decided it; if the filing limit passed; or after three attempts.
    """
    settings = load_settings()
    actor, reason = signature(by), _reason(why)
    with open_ledger() as ledger, database.writing(ledger.engine) as connection:
        claim = _live_claim(connection, claim_number)
        _require_undecided(connection, claim)
        _require_no_twin(connection, claim)
        _require_time_left(claim, settings.clock().date())
        attempt = _attempts(connection, claim) + 1
        if attempt > ATTEMPTS:
            raise Refused(
                f"Claim {claim_number} was sent {ATTEMPTS} times and refused each time. "
                "Find out why from the payer before it goes again."
            )
        number = succeed(
            connection, claim, claim["frequency_code"], by=actor, why=reason, at=settings.clock()
        )
    return Resent(
        claim_number=claim_number,
        new_claim_number=number,
        attempt=attempt,
        next_step=_FILED_NEXT.format(month=f"{claim['service_month']:%Y-%m}"),
    )


def _reason(why: str | None) -> str:
    if not why or not why.strip():
        raise Refused("Say why: --reason TEXT. It stays with the claim.")
    return why.strip()


def _live_claim(connection: sa.Connection, claim_number: str) -> RowMapping:
    """Find a claim by its number; one that was succeeded names its successor."""
    claim = (
        connection.execute(sa.select(CLAIM).where(CLAIM.c.claim_number == claim_number)).mappings().first()
    )
    if claim is None:
        raise Refused(f"There is no claim {claim_number} in the ledger.")
    if claim["state"] in ENDED:
        same_key = (CLAIM.c[name] == claim[name] for name in KEY)
        live = connection.execute(sa.select(CLAIM.c.claim_number).where(*same_key, CLAIM.c.is_live)).scalar()
        now = f"; {live} is in its place" if live else ""
        raise Refused(f"Claim {claim_number} is {claim['state']}{now}.")
    return claim


def _require_decided(connection: sa.Connection, claim: RowMapping) -> None:
    """Refuse to correct what its payer has not decided."""
    number, state = claim["claim_number"], claim["state"]
    if claim["frequency_code"] == VOIDING:
        raise Refused(
            f"Claim {number} takes {claim['original_claim_number']} back; there is nothing to correct."
        )
    if state == BUILT:
        raise Refused(
            f"Claim {number} was not sent yet: run the month again, and it says what the input says."
        )
    if state == REJECTED or _is_unprocessable(connection, claim):
        raise Refused(
            f"Claim {number} was refused without a decision: it goes again with `rpmclaims resend`."
        )
    if state != ADJUDICATED:
        raise Refused(
            f"Claim {number} is {state}: its payer has not decided it. Collect the answers first; "
            "a correction of an open claim is denied as a duplicate."
        )


def _require_cause(claim: RowMapping, correction: RowMapping | None, is_void: bool) -> None:
    """Refuse to correct what the input still supports, unless a person takes it back."""
    if is_void:
        return
    number = claim["claim_number"]
    if correction is None:
        raise Refused(
            f"The input still says what claim {number} told its payer. Correct the input and run the month "
            "again; to take the claim back all the same, use --void."
        )
    if correction["kind"] == "withdrawn" and claim["payer_kind"] != PART_B:
        raise Refused(f"The input no longer supports claim {number} at all: take it back with --void.")


def _require_payer_number(claim: RowMapping) -> None:
    if not claim["payer_claim_number"]:
        raise Refused(
            f"The payer's own number of claim {claim['claim_number']} is not known, and a correction must "
            "name it (REF*F8). Collect the remittance that holds it."
        )


def _require_undecided(connection: sa.Connection, claim: RowMapping) -> None:
    """Refuse to send again what its payer holds or has decided."""
    number, state = claim["claim_number"], claim["state"]
    if state == REJECTED or (state == ADJUDICATED and _is_unprocessable(connection, claim)):
        return
    if state == BUILT:
        raise Refused(f"Claim {number} was not sent yet: `rpmclaims submit` delivers it.")
    if state == ADJUDICATED:
        raise Refused(
            f"Claim {number} was decided; a new one would be denied as a duplicate (OA-18). "
            f"See `rpmclaims correct {number}`."
        )
    raise Refused(f"Claim {number} is {state}: its payer has it. Collect the answers before it goes again.")


def _is_unprocessable(connection: sa.Connection, claim: RowMapping) -> bool:
    """Tell whether the newest remittance returned a claim as unprocessable, which is no decision."""
    newest = (
        sa.select(sa.func.max(REMITTANCE_CLAIM.c.id))
        .where(REMITTANCE_CLAIM.c.claim_id == claim["id"], ~REMITTANCE_CLAIM.c.is_reversal)
        .scalar_subquery()
    )
    said = sa.select(REMITTANCE_REMARK.c.code).where(
        REMITTANCE_REMARK.c.remittance_claim_id == newest, REMITTANCE_REMARK.c.code == UNPROCESSABLE
    )
    return connection.execute(said).first() is not None


def _require_no_twin(connection: sa.Connection, claim: RowMapping) -> None:
    """Refuse while the same member's month is open under another of our providers."""
    twin = connection.execute(
        sa.select(CLAIM.c.claim_number).where(
            *(CLAIM.c[name] == claim[name] for name in KEY if name != "billing_npi"),
            CLAIM.c.id != claim["id"],
            CLAIM.c.is_live,
            CLAIM.c.state.not_in((REJECTED, ADJUDICATED)),
        )
    ).scalar()
    if twin:
        raise Refused(
            f"Claim {twin} is open for the same member and month; only one is paid. "
            f"Wait for its decision before {claim['claim_number']} goes again."
        )


def _require_time_left(claim: RowMapping, today: date) -> None:
    """Refuse after the payer's limit for filing."""
    limits = in_effect(reference().filing, claim["date_of_service"])
    of_payer = limits.filter(pl.col("payer_kind") == claim["payer_kind"])["limit_months"]
    ends = (
        pl.select(pl.lit(claim["date_of_service"]).dt.offset_by(f"{of_payer[0]}mo")).item()
        if len(of_payer)
        else today
    )
    if today > ends:
        raise Refused(f"The time to file claim {claim['claim_number']} ended on {ends}; it cannot go again.")


def _attempts(connection: sa.Connection, claim: RowMapping) -> int:
    """Count the versions of a claim that were sent for the same purpose."""
    same_key = (CLAIM.c[name] == claim[name] for name in KEY)
    sent = sa.select(sa.func.count()).where(
        *same_key,
        CLAIM.c.frequency_code == claim["frequency_code"],
        CLAIM.c.interchange_id.is_not(None),
    )
    return int(connection.execute(sent).scalar_one())


def _open_correction(connection: sa.Connection, claim_id: int) -> RowMapping | None:
    found = sa.select(CORRECTION).where(CORRECTION.c.claim_id == claim_id, CORRECTION.c.state == "open")
    return connection.execute(found.order_by(CORRECTION.c.id.desc())).mappings().first()


def _close(connection: sa.Connection, correction: RowMapping | None, by: str) -> None:
    """Take a correction off the list; it stays off unless the input changes once more."""
    if correction is not None:
        done = sa.update(CORRECTION).where(CORRECTION.c.id == correction["id"])
        connection.execute(done.values(state="closed", closed_by=by))


def _corrected(
    connection: sa.Connection,
    claim: RowMapping,
    correction: RowMapping | None,
    is_void: bool,
    new_number: str | None,
) -> Corrected:
    """Put together what was told, what is right, and the way from one to the other."""
    columns = [CLAIM_LINE.c[name] for name in LINE_FACTS]
    mine = sa.select(*columns).where(CLAIM_LINE.c.claim_id == claim["id"]).order_by(CLAIM_LINE.c.line_number)
    was = [{name: str(value) for name, value in row.items()} for row in connection.execute(mine).mappings()]
    now = _told(correction["now"]) if correction is not None and not is_void else {}
    month = f"{claim['service_month']:%Y-%m}"
    if new_number is None:
        steps = (
            "Ask the contractor for a reopening by phone, portal or form, with the documentation at hand; a "
            "new claim would be denied as a duplicate. Close this item with --by NAME --reason TEXT."
            if now
            else "Return the payment: a voluntary refund or a reopening at the contractor, within 60 days. "
            "Close this item with --by NAME --reason TEXT."
        )
    else:
        steps = _FILED_NEXT.format(month=month)
    return Corrected(
        claim_number=claim["claim_number"],
        how="reopening" if new_number is None else "void" if is_void else "replacement",
        payer_kind=claim["payer_kind"],
        payer_id=claim["payer_id"],
        mac_contract=claim["mac_contract"],
        payer_claim_number=claim["payer_claim_number"],
        date_of_service=claim["date_of_service"],
        was=was,
        now=now.get("lines", []),
        was_charge=claim["total_charge"],
        now_charge=Decimal(now.get("total_charge", "0.00")),
        was_evidence_sha256=claim["evidence_sha256"],
        now_evidence_sha256=now.get("evidence_sha256"),
        new_claim_number=new_number,
        next_step=steps,
    )


def _told(kept: Any) -> dict[str, Any]:
    """Read what a correction keeps; a frame wrote it as text into a JSON column."""
    told: dict[str, Any] = json.loads(kept) if isinstance(kept, str) else kept
    return told
