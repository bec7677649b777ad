"""The payer's remittances: which outcomes go into which 835, what is withheld, and the 835 itself.

`infra.sandbox.payer` sends them; `infra.sandbox.payer_bank` pays what they announce. Every payment
balances: the claims less the provider adjustments are the amount, which is never below nothing: what
would be is forwarded to a later remittance. Structure: the open pyx12 map of 005010X221A1.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from infra.sandbox.payer_cases import Case
from infra.sandbox.payer_judgement import NOTHING, PaidClaim, PaidLine, correct, reverse
from infra.sandbox.payer_x12 import Sender, amount, interchange, segment, segment_if, text

FORTNIGHT: Final = timedelta(days=14)


@dataclass(frozen=True)
class ProviderAdjustment:
    """One PLB pair; a positive amount lowers the payment."""

    reason_code: str
    reference: str
    amount: Decimal


@dataclass
class Remittance:
    """One 835: a payment of one payer to one provider.

    Attributes:
        claims: Its CLP loops, in order.
        paid_on: BPR16.
        provider_adjustments: Its PLB pairs.
        transfer: Remittances with the same text here share one transfer; None is a transfer of its own.
        deposits: How many deposits the transfer arrives in.
        copies: How often the file arrives.
        is_first: Whether it arrives before its claims were acknowledged.
        trace_number: TRN02, once it is numbered.
    """

    claims: list[PaidClaim]
    paid_on: date
    provider_adjustments: list[ProviderAdjustment] = field(default_factory=list)
    transfer: str | None = None
    deposits: int = 1
    copies: int = 1
    is_first: bool = False
    trace_number: str = ""

    @property
    def amount(self) -> Decimal:
        """BPR02."""
        claims = sum((claim.paid for claim in self.claims), NOTHING)
        return claims - sum((one.amount for one in self.provider_adjustments), NOTHING)


def company_id(payer_id: str) -> str:
    """Make up the payer's tax number, as TRN03 and the bank say it: a 1 and nine digits."""
    digest = hashlib.blake2b(payer_id.encode(), digest_size=6).digest()
    return f"1{int.from_bytes(digest, 'big') % 10**9:09}"


def collect(judged: Iterable[tuple[PaidClaim, Case]], paid_on: date) -> list[Remittance]:
    """Sort outcomes into remittances: one for each payer and provider, and those that cases ask for."""
    groups: dict[tuple[str, str], list[tuple[PaidClaim, Case]]] = defaultdict(list)
    for paid, case in judged:
        groups[paid.claim.payer_id, paid.claim.billing_npi].append((paid, case))
    return [remittance for _, group in sorted(groups.items()) for remittance in _of_group(group, paid_on)]


def _of_group(group: list[tuple[PaidClaim, Case]], paid_on: date) -> list[Remittance]:
    main = Remittance([paid for paid, case in group if not case.has_own_remittance], paid_on)
    # Any of these may go into another remittance; a claim with a story of its own may not.
    spare = [paid for paid, case in group if case.name == "paid"]
    own, later = [], Remittance([], paid_on + FORTNIGHT)
    for paid, case in group:
        if case.has_own_remittance:
            own += _own(paid, case, paid_on, main, spare)
        if case.name == "reversal_and_correction":
            later.claims += [reverse(paid), correct(paid, case)]
    return [remittance for remittance in (main, *own, later) if remittance.claims]


def _own(
    paid: PaidClaim, case: Case, paid_on: date, main: Remittance, spare: list[PaidClaim]
) -> list[Remittance]:
    """Act out a case that has a remittance to itself, or several."""
    first = Remittance([paid], paid_on)
    match case.name:
        case "takeback":
            return [first, *_take_back(paid, paid_on, main, spare)]
        case "interest":
            first.provider_adjustments.append(ProviderAdjustment("L6", paid.payer_number, -paid.interest))
        case "two_remittances":
            first.transfer = paid.payer_number
            others = [claim for claim in spare if claim.paid != paid.paid]
            if others:
                return [
                    first,
                    _moved(others[:1], main, spare, Remittance([], paid_on, transfer=first.transfer)),
                ]
        case "split_deposit":
            first.deposits = 2
        case "replay":
            first.copies = 2
        case "remittance_first":
            first.is_first = True
    return [first]


def _take_back(paid: PaidClaim, paid_on: date, main: Remittance, spare: list[PaidClaim]) -> list[Remittance]:
    """Reverse a claim when there is nothing to set it off against, and set it off a fortnight later."""
    owed = paid.paid
    balance = ProviderAdjustment("FB", paid.payer_number, owed)
    reversal = Remittance(
        [reverse(paid)], paid_on + FORTNIGHT, [ProviderAdjustment("FB", paid.payer_number, -owed)]
    )
    enough: list[PaidClaim] = []
    for claim in spare:
        if sum((one.paid for one in enough), NOTHING) > owed:
            break
        enough.append(claim)
    if sum((one.paid for one in enough), NOTHING) <= owed:
        return [reversal]  # The balance stays open: this provider has too few other claims.
    return [reversal, _moved(enough, main, spare, Remittance([], paid_on + 2 * FORTNIGHT, [balance]))]


def _moved(claims: list[PaidClaim], main: Remittance, spare: list[PaidClaim], to: Remittance) -> Remittance:
    for claim in claims:
        main.claims.remove(claim)
        spare.remove(claim)
        to.claims.append(claim)
    return to


def write_835(remittance: Remittance, between: Sender, control_number: int, at: datetime) -> bytes:
    """Write one remittance as one file."""
    first = remittance.claims[0].claim
    paid_on = f"{remittance.paid_on:%Y%m%d}"
    company = company_id(first.payer_id)
    is_paid = remittance.amount > 0
    bank = ("01", "021000021", "DA", "1000200030", company, "", "01", "091000019", "DA", "3000200010")
    segments = [
        segment("ST", "835", "0001"),
        segment(
            "BPR", "I" if is_paid else "H", amount(remittance.amount), "C", "ACH" if is_paid else "NON",
            *(("CCP", *bank) if is_paid else ("",) * 11), paid_on,
        ),
        segment("TRN", "1", remittance.trace_number, company),
        segment("DTM", "405", paid_on),
        segment("N1", "PR", text(first.payer_name)),
        segment("N3", "1 SANDBOX PLAZA"),
        segment("N4", "BALTIMORE", "MD", "212440000"),
        segment("REF", "2U", text(first.payer_id)),
        segment("PER", "BL", "EDI DESK", "TE", "4105550199"),
        segment("N1", "PE", text(first.billing_name), "XX", first.billing_npi),
        segment("REF", "TJ", text(first.billing_tax_id)),
        segment("LX", 1),
    ]  # fmt: skip
    for claim in remittance.claims:
        segments += _claim(claim)
    year_end = f"{remittance.paid_on:%Y}1231"
    for one in remittance.provider_adjustments:
        composite = f"{one.reason_code}:{one.reference}"
        segments.append(segment("PLB", first.billing_npi, year_end, composite, amount(one.amount)))
    return interchange(between, control_number, at, "HP", "005010X221A1", [segments])


def _claim(paid: PaidClaim) -> list[str]:
    claim, sign = paid.claim, paid.sign
    last, first, middle = (text(name) for name in claim.patient_name)
    rendering = [text(name) for name in claim.rendering_name]
    return [
        segment(
            "CLP", paid.number, paid.status_code, amount(sign * claim.charge), amount(paid.paid),
            amount(paid.patient_responsibility), text(claim.filing_code), paid.payer_number,
            text(claim.place_of_service), claim.frequency_code,
        ),
        segment("NM1", "QC", "1", last, first, middle, "", "", "MI", text(claim.member_id)),
        *segment_if(claim.rendering_npi, "NM1", "82", "1", *rendering, "", "", "", "XX", claim.rendering_npi),
        *segment_if(paid.forwarded_to, "NM1", "TT", "2", paid.forwarded_to, "", "", "", "", "PI", "SUPP01"),
        *segment_if(paid.remarks, "MOA", "", "", *paid.remarks),
        *segment_if(paid.original_payer_number, "REF", "F8", paid.original_payer_number),
        *segment_if(paid.interest, "AMT", "I", amount(paid.interest)),
        *(part for line in paid.lines for part in _line(line)),
    ]  # fmt: skip


def _line(paid: PaidLine) -> list[str]:
    line = paid.line
    was_cut = paid.units_paid != line.units
    by_group: dict[str, list[object]] = defaultdict(list)
    for one in paid.adjustments:
        by_group[one.group_code] += [one.reason_code, amount(one.amount), one.quantity or ""]
    return [
        segment(
            "SVC", ":".join(("HC", line.code, *paid.modifiers)), amount(paid.sign * line.charge),
            amount(paid.paid), "", paid.units_paid, "", line.units if was_cut else "",
        ),
        segment("DTM", "472", f"{line.date_of_service:%Y%m%d}"),
        *(segment("CAS", group, *triples) for group, triples in by_group.items()),
        *segment_if(paid.control_number, "REF", "6R", paid.control_number),
        *segment_if(paid.allowed, "AMT", "B6", amount(paid.allowed)),
        *(segment("LQ", "HE", remark) for remark in paid.remarks),
    ]  # fmt: skip
