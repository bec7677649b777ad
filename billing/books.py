"""Books: what the ledger knows of claims, answers, money and deposits up to a day, as frames.

Read through `schemas.ledger_views`, by `console.queries` for the reports and by `tasks.worklist` for the
work; `billing.reconciliation`, `billing.metrics`, `billing.deposits` and `billing.worklist` judge them.
They hold claim numbers and codes, no name and no member id. Nothing is decided here.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl


@dataclass(frozen=True)
class Books:
    """The ledger as of the evening of a day: nothing that was learned or dated later is in it.

    Money is Decimal(12, 2), instants are UTC, ids are the ledger's own.
    """

    as_of: date
    # claim_id, claim_number, version, frequency_code, payer_id, payer_kind, mac_contract, locality,
    # place_of_service, service_month, date_of_service, total_charge, interchange_id, created_at, sent_at
    claims: pl.DataFrame
    # claim_id, line_number, code, modifiers, units, date_of_service, charge, and the three estimates
    lines: pl.DataFrame
    events: pl.DataFrame  # event_id, claim_id, at, actor, to_state
    # posting_id, posted_on, recorded_at, account, amount, claim_id, line_number, remittance_id,
    # remittance_claim_id, group_code, reason_code, reference
    postings: pl.DataFrame
    # file_id, name, kind, state, received_at, summary (JSON text)
    files: pl.DataFrame
    # answer_id, file_id, kind, level, source, interchange_id, claim_id, line_number, claim_number, codes
    # (JSON text), outcome, charge, is_matched, received_at
    answers: pl.DataFrame
    # remittance_id, file_id, payer_name, payer_id, payee_npi, trace_number, originator_id, amount, method,
    # payment_date, state, difference, received_at
    remittances: pl.DataFrame
    # remittance_claim_id, remittance_id, claim_number, status_code, charge, paid, claim_id, matched_by,
    # suggested_claim_number, is_reversal, is_forwarded
    remittance_claims: pl.DataFrame
    # remittance_line_id, remittance_claim_id, code, allowed, units (as text), claim_line_number and is_denied
    remittance_lines: pl.DataFrame
    # remittance_claim_id, remittance_line_id, group_code, reason_code, amount
    adjustments: pl.DataFrame
    remarks: pl.DataFrame  # remittance_claim_id, remittance_line_id, code
    interchanges: pl.DataFrame  # interchange_id, file_name, claim_count, total_charge, state, sent_at
    corrections: pl.DataFrame  # correction_id, claim_id, found_at, kind, was, now (JSON text)
    runs: pl.DataFrame  # run_id, month, source, finished_at, summary (JSON text): the runs that are done
    deposits: pl.DataFrame  # deposit_id, deposited_on, amount, trace_number, company_id, description


ENDED: Final = ("void", "replaced")  # a claim in one of these states no longer asks for money


def states(books: Books) -> pl.DataFrame:
    """Return claim_id and the state each claim was in on the evening of the books' day."""
    last = books.events.sort("event_id").group_by("claim_id").agg(state=pl.col("to_state").last())
    return books.claims.select("claim_id").join(last, on="claim_id", how="left")


def standing(postings: pl.DataFrame) -> pl.DataFrame:
    """Leave out of a provider's postings those that were taken off again, with what took them off.

    An adjustment whose claim became known later stands twice on nobody's account, once with each sign, and
    once on the claim's.
    """
    facts = ("remittance_id", "account", "reason_code", "reference", "claim_id")
    same = [*map(pl.col, facts), pl.col("amount").abs()]
    sign = pl.when(pl.col("amount") < 0).then(-1).otherwise(1)
    left = sign.sum().over(same)
    return postings.filter(sign * left > 0, pl.int_range(pl.len()).over([*same, sign]) < left.abs())
