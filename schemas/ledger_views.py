"""Ledger views: the questions that several rooms ask of the ledger, as SELECT statements.

`console.queries` and `tasks.worklist` run them, one statement for each frame of `billing.books.Books` and
under its name. What the answers mean belongs to `billing`; nothing here opens a connection or writes.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from schemas.ledger_answers import InboundFile

TABLES: Final = InboundFile.metadata.tables
_CLAIM: Final = TABLES["claim"]
_INTERCHANGE: Final = TABLES["interchange"]
_FILE: Final = TABLES["inbound_file"]
_ANSWER: Final = TABLES["answer"]
_REMITTANCE: Final = TABLES["remittance"]
_REMITTANCE_CLAIM: Final = TABLES["remittance_claim"]
_POSTING: Final = TABLES["posting"]


def books(as_of: date, dated_until: date = date.max) -> dict[str, sa.Select[Any]]:
    """Ask for everything that was known on the evening (UTC) of a day, frame by frame.

    Args:
        dated_until: The last payment date that counts, for what was paid as for what was said of it: the day
            itself for a period that is closed, none for today, because remittances announce payments of the
            next days.
    """
    evening = datetime.combine(as_of + timedelta(days=1), datetime.min.time(), UTC)
    files = sa.select(_FILE.c.id).where(_FILE.c.received_at < evening)
    # A payment without a date of its own is dated when its file came.
    is_dated = (_REMITTANCE.c.payment_date <= dated_until) | _REMITTANCE.c.payment_date.is_(None)
    remittances = sa.select(_REMITTANCE.c.id).where(_REMITTANCE.c.inbound_file_id.in_(files), is_dated)
    remittance_claims = sa.select(_REMITTANCE_CLAIM.c.id).where(
        _REMITTANCE_CLAIM.c.remittance_id.in_(remittances)
    )
    of_claim = {
        name: _of(name, "remittance_claim_id").where(
            TABLES[name].c.remittance_claim_id.in_(remittance_claims)
        )
        for name in ("remittance_adjustment", "remittance_remark")
    }
    return {
        "claims": _claims(evening),
        "lines": _lines(evening),
        "events": _events(evening),
        "postings": _postings(dated_until, evening),
        "files": _files().where(_FILE.c.received_at < evening),
        "answers": _answers().where(_FILE.c.received_at < evening),
        "remittances": _remittances().where(_FILE.c.received_at < evening, is_dated),
        "remittance_claims": _remittance_claims(evening).where(
            _REMITTANCE_CLAIM.c.remittance_id.in_(remittances)
        ),
        "remittance_lines": _remittance_lines().where(
            TABLES["remittance_line"].c.remittance_claim_id.in_(remittance_claims)
        ),
        "adjustments": of_claim["remittance_adjustment"],
        "remarks": of_claim["remittance_remark"],
        "interchanges": _interchanges(evening),
        "corrections": _corrections(evening),
        "runs": _runs(evening),
        "deposits": _deposits(dated_until, evening),
    }


def work_items(*states: str) -> sa.Select[Any]:
    """Ask for the work items in some states, or for all of them, with the numbers of their claims."""
    item = TABLES["work_item"]
    names = ("kind", "key", "incident_key", "claim_id", "reference", "money", "deadline", "owner", "action")
    more = ("retry_class", "reason", "state", "opened_at", "closed_at", "closed_by", "events")
    asked = sa.select(
        item.c.id.label("item_id"), *(item.c[name] for name in (*names, *more)), _CLAIM.c.claim_number
    ).join_from(item, _CLAIM, item.c.claim_id == _CLAIM.c.id, isouter=True)
    return asked.where(item.c.state.in_(states)) if states else asked


def deposit_matches() -> sa.Select[Any]:
    """Ask for which deposit belongs to which payment."""
    match = TABLES["deposit_match"]
    return sa.select(match.c.deposit_id, match.c.remittance_id, match.c.how)


def _claims(evening: datetime) -> sa.Select[Any]:
    names = (
        *("claim_number", "version", "frequency_code", "payer_id", "payer_kind", "mac_contract", "locality"),
        *("place_of_service", "service_month", "date_of_service", "total_charge", "interchange_id"),
    )
    columns = [_CLAIM.c.id.label("claim_id"), *(_CLAIM.c[name] for name in names), _CLAIM.c.created_at]
    joined = sa.select(*columns, _INTERCHANGE.c.sent_at).join_from(
        _CLAIM, _INTERCHANGE, _CLAIM.c.interchange_id == _INTERCHANGE.c.id, isouter=True
    )
    return joined.where(_CLAIM.c.created_at < evening)


def _lines(evening: datetime) -> sa.Select[Any]:
    line = TABLES["claim_line"]
    names = (
        *("claim_id", "line_number", "code", "modifiers", "units", "date_of_service", "charge"),
        *("allowed_estimate", "medicare_estimate", "patient_estimate"),
    )
    joined = sa.select(*(line.c[name] for name in names)).join(_CLAIM, line.c.claim_id == _CLAIM.c.id)
    return joined.where(_CLAIM.c.created_at < evening)


def _events(evening: datetime) -> sa.Select[Any]:
    event = TABLES["claim_event"]
    names = ("claim_id", "at", "actor", "to_state")
    columns = (event.c.id.label("event_id"), *(event.c[name] for name in names))
    return sa.select(*columns).where(event.c.at < evening)


def _postings(dated_until: date, evening: datetime) -> sa.Select[Any]:
    names = (
        *("posted_on", "recorded_at", "account", "amount", "claim_id", "line_number", "remittance_id"),
        *("remittance_claim_id", "group_code", "reason_code", "reference"),
    )
    columns = (_POSTING.c.id.label("posting_id"), *(_POSTING.c[name] for name in names))
    # What was dated in a period that had been closed before it was known belongs to a later report.
    return sa.select(*columns).where(_POSTING.c.posted_on <= dated_until, _POSTING.c.recorded_at < evening)


def _files() -> sa.Select[Any]:
    names = ("name", "kind", "state", "received_at", "summary")
    return sa.select(_FILE.c.id.label("file_id"), *(_FILE.c[name] for name in names))


def _answers() -> sa.Select[Any]:
    names = (
        *("kind", "level", "source", "interchange_id", "claim_id", "line_number", "claim_number", "codes"),
        *("outcome", "charge", "is_matched"),
    )
    columns = (_ANSWER.c.id.label("answer_id"), _ANSWER.c.inbound_file_id.label("file_id"))
    joined = sa.select(*columns, *(_ANSWER.c[name] for name in names), _FILE.c.received_at)
    return joined.join_from(_ANSWER, _FILE, _ANSWER.c.inbound_file_id == _FILE.c.id)


def _remittances() -> sa.Select[Any]:
    names = (
        *("payer_name", "payer_id", "payee_npi", "trace_number", "originator_id", "amount", "method"),
        *("payment_date", "state", "difference"),
    )
    columns = (_REMITTANCE.c.id.label("remittance_id"), _REMITTANCE.c.inbound_file_id.label("file_id"))
    joined = sa.select(*columns, *(_REMITTANCE.c[name] for name in names), _FILE.c.received_at)
    return joined.join_from(_REMITTANCE, _FILE, _REMITTANCE.c.inbound_file_id == _FILE.c.id)


def _remittance_claims(evening: datetime) -> sa.Select[Any]:
    names = ("remittance_id", "claim_number", "status_code", "charge", "paid", "is_reversal", "is_forwarded")
    is_matched = _REMITTANCE_CLAIM.c.matched_at < evening
    matches = (
        sa.case((is_matched, _REMITTANCE_CLAIM.c[name])).label(name) for name in ("claim_id", "matched_by")
    )
    suggested = _CLAIM.alias("suggested")
    columns = [_REMITTANCE_CLAIM.c[name] for name in names]
    return sa.select(
        _REMITTANCE_CLAIM.c.id.label("remittance_claim_id"),
        *columns,
        *matches,
        suggested.c.claim_number.label("suggested_claim_number"),
    ).join_from(
        _REMITTANCE_CLAIM,
        suggested,
        _REMITTANCE_CLAIM.c.suggested_claim_id == suggested.c.id,
        isouter=True,
    )


def _remittance_lines() -> sa.Select[Any]:
    line = TABLES["remittance_line"]
    names = ("remittance_claim_id", "code", "allowed", "units", "claim_line_number", "is_denied")
    return sa.select(line.c.id.label("remittance_line_id"), *(line.c[name] for name in names))


def _of(table: str, first: str) -> sa.Select[Any]:
    found = TABLES[table]
    wanted = (first, "remittance_line_id", "group_code", "reason_code", "amount", "code")
    return sa.select(*(found.c[name] for name in wanted if name in found.c))


def _interchanges(evening: datetime) -> sa.Select[Any]:
    names = ("file_name", "claim_count", "total_charge", "state", "sent_at")
    columns = (_INTERCHANGE.c.id.label("interchange_id"), *(_INTERCHANGE.c[name] for name in names))
    return sa.select(*columns).where(_INTERCHANGE.c.created_at < evening)


def _corrections(evening: datetime) -> sa.Select[Any]:
    correction = TABLES["correction"]
    names = ("claim_id", "found_at", "kind", "was", "now")
    columns = (correction.c.id.label("correction_id"), *(correction.c[name] for name in names))
    return sa.select(*columns).where(correction.c.state == "open", correction.c.found_at < evening)


def _runs(evening: datetime) -> sa.Select[Any]:
    run = TABLES["month_run"]
    names = ("run_id", "month", "source", "finished_at", "summary")
    return sa.select(*(run.c[name] for name in names)).where(
        run.c.state == "done", run.c.finished_at < evening
    )


def _deposits(dated_until: date, evening: datetime) -> sa.Select[Any]:
    deposit = TABLES["deposit"]
    names = ("deposited_on", "amount", "trace_number", "company_id", "description")
    columns = (deposit.c.id.label("deposit_id"), *(deposit.c[name] for name in names))
    return sa.select(*columns).where(deposit.c.deposited_on <= dated_until, deposit.c.recorded_at < evening)
