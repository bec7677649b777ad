"""The payer's acknowledgements: TA1, 999 and 277CA, as a clearinghouse and the payers behind it send them.

`infra.sandbox.payer` sends them before any money. Structure: the open pyx12 maps of 005010X231A1 and
005010X214.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from infra.sandbox.payer_cases import Case
from infra.sandbox.payer_claims import Claim, ClaimFile
from infra.sandbox.payer_judgement import NOTHING, payer_number
from infra.sandbox.payer_x12 import (
    Sender,
    amount,
    header,
    interchange,
    segment,
    segment_if,
    text,
    trailer,
)

_DUPLICATE_INTERCHANGE: Final = "025"
# What is wrong with a claim: STC01 and the information source that says so.
_REJECTIONS: Final = {
    "rejected_A3": ("A3:54", "clearinghouse"),
    "rejected_A6": ("A6:145:82", "clearinghouse"),
    "rejected_A7": ("A7:164:IL", "payer"),
    "rejected_A8": ("A8:562:85", "payer"),
}


def write_ta1(
    file: ClaimFile, between: Sender, control_number: int, at: datetime, *, is_rejected: bool
) -> bytes:
    """Answer the envelope."""
    answer = segment(
        "TA1", f"{file.control_number:09}", f"{file.created_at:%y%m%d}", f"{file.created_at:%H%M}",
        *(("R", _DUPLICATE_INTERCHANGE) if is_rejected else ("A", "000")),
    )  # fmt: skip
    return (header(between, control_number, at) + answer + trailer(control_number, 0)).encode()


def write_999(
    file: ClaimFile, between: Sender, control_number: int, at: datetime, rejected: dict[str, Claim]
) -> bytes:
    """Answer every transaction set; `rejected` names for a refused one the claim to blame, by ST02."""
    segments = [
        segment("ST", "999", "0001", "005010X231A1"),
        segment("AK1", "HC", file.group_control_number, "005010X222A1"),
    ]
    for transaction in file.transactions:
        segments.append(segment("AK2", "837", transaction, "005010X222A1"))
        if transaction in rejected:
            claim = rejected[transaction]
            segments += [
                segment("IK3", "CLM", claim.place, "2300", "8"),
                segment("CTX", f"CLM01:{claim.number}"),
                segment("IK4", "5:1", "1331", "7", claim.place_of_service),
                segment("IK5", "R", "5"),
            ]
        else:
            segments.append(segment("IK5", "A"))
    included, refused = len(file.transactions), len(rejected)
    verdict = "A" if not refused else "R" if refused == included else "P"
    segments.append(segment("AK9", verdict, included, included, included - refused))
    return interchange(between, control_number, at, "FA", "005010X231A1", [segments])


def rejected_by(case: Case) -> str | None:
    """Say who rejects a claim of this case: `clearinghouse`, `payer` or nobody."""
    return _REJECTIONS[case.name][1] if case.stage == "277CA" else None


def write_277ca(
    file: ClaimFile,
    between: Sender,
    control_number: int,
    at: datetime,
    claims: Sequence[Claim],
    chosen: dict[str, Case],
    *,
    source: str,
) -> bytes:
    """Say of each claim whether it goes on: one transaction set for each batch.

    Args:
        file: Where the claims came in.
        between: Who answers whom.
        control_number: ISA13 of the answer.
        at: When it is written.
        claims: What the source saw: a payer sees only its own, and only what the clearinghouse let through.
        chosen: What happens to each claim.
        source: `clearinghouse` or `payer`.
    """
    batches: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        batches[claim.batch_id].append(claim)
    sets = [
        _batch(file, number, batch, members, chosen, at, source)
        for number, (batch, members) in enumerate(batches.items(), 1)
    ]
    return interchange(between, control_number, at, "HN", "005010X214", sets)


def _batch(
    file: ClaimFile,
    number: int,
    batch_id: str,
    claims: list[Claim],
    chosen: dict[str, Case],
    at: datetime,
    source: str,
) -> list[str]:
    is_payer = source == "payer"
    received = "A1:19:PR" if is_payer else "A1:19:AY"
    day = f"{at:%Y%m%d}"
    refused = [claim for claim in claims if rejected_by(chosen[claim.number]) == source]
    first = claims[0]
    named = (
        segment("NM1", "PR", "2", text(first.payer_name), "", "", "", "", "PI", text(first.payer_id))
        if is_payer
        else segment("NM1", "AY", "2", text(file.receiver_name), "", "", "", "", "46", file.receiver_id)
    )
    segments = [
        segment("ST", "277", f"{number:04}", "005010X214"),
        segment("BHT", "0085", "08", f"{batch_id}{'P' if is_payer else 'C'}", day, f"{at:%H%M}", "TH"),
        segment("HL", 1, "", "20", 1),
        named,
        segment("TRN", "1", f"{file.control_number:09}{number:04}"),
        segment("DTP", "050", "D8", f"{file.created_at:%Y%m%d}"),
        segment("DTP", "009", "D8", day),
        segment("HL", 2, 1, "21", 1),
        segment("NM1", "41", "2", text(file.submitter_name), "", "", "", "", "46", file.sender_id),
        segment("TRN", "2", batch_id),
        segment("STC", received, day, "WQ", amount(_total(claims))),
        *_totals("90", "AA", "YU", "YY", claims, refused),
    ]
    providers: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        providers[claim.billing_npi].append(claim)
    level = 3
    for npi, members in providers.items():
        refused_here = [claim for claim in members if claim in refused]
        segments += [
            segment("HL", level, 2, "19", 1),
            segment("NM1", "85", "2", text(members[0].billing_name), "", "", "", "", "XX", npi),
            segment("TRN", "1", f"{file.control_number:09}{level}"),
            segment("STC", received, "", "WQ", amount(_total(members))),
            *_totals("QA", "QC", "YU", "YY", members, refused_here),
        ]
        for place, claim in enumerate(members, level + 1):
            segments += _claim(claim, chosen[claim.number], place, level, day, source)
        level += len(members) + 1
    return segments


def _claim(claim: Claim, case: Case, level: int, parent: int, day: str, source: str) -> list[str]:
    last, first, middle = (text(name) for name in claim.patient_name)
    is_refused = rejected_by(case) == source
    accepted = "A2:20" if source == "payer" else "A1:19"
    status = _REJECTIONS[case.name][0] if is_refused else accepted
    days = sorted(line.date_of_service for line in claim.lines)
    span = (
        ("D8", f"{days[0]:%Y%m%d}") if days[0] == days[-1] else ("RD8", f"{days[0]:%Y%m%d}-{days[-1]:%Y%m%d}")
    )
    return [
        segment("HL", level, parent, "PT"),
        segment("NM1", "QC", "1", last, first, middle, "", "", "MI", text(claim.member_id)),
        segment("TRN", "2", claim.number),
        segment("STC", status, day, "U" if is_refused else "WQ", amount(claim.charge)),
        *segment_if(source == "payer" and not is_refused, "REF", "1K", payer_number(claim.number)),
        segment("REF", "D9", f"CH{claim.number}"),
        segment("DTP", "472", *span),
    ]


def _total(claims: Iterable[Claim]) -> Decimal:
    return sum((claim.charge for claim in claims), NOTHING)


def _totals(
    accepted: str,
    refused: str,
    accepted_amount: str,
    refused_amount: str,
    claims: list[Claim],
    bad: list[Claim],
) -> list[str]:
    """Count and sum what goes on and what does not; a count of none is not sent."""
    good = len(claims) - len(bad)
    return [
        *segment_if(good, "QTY", accepted, good),
        *segment_if(bad, "QTY", refused, len(bad)),
        *segment_if(good, "AMT", accepted_amount, amount(_total(claims) - _total(bad))),
        *segment_if(bad, "AMT", refused_amount, amount(_total(bad))),
    ]
