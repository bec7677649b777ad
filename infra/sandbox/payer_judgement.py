"""The payer's judgement: what the sandbox payer pays on a claim, line by line, and why not more.

`infra.sandbox.payer_remittances` collects the outcomes into remittances. Everything balances here: charge =
paid + adjustments on each line, and the claim is the sum of its lines. The fee comes from
`infra.sandbox.payer_book`, the story from `infra.sandbox.payer_cases`.
"""

import hashlib
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from infra.sandbox.payer_book import NotPayable, cents, unit_fee
from infra.sandbox.payer_cases import Case
from infra.sandbox.payer_claims import ADD_ON, Claim, Line

NOTHING: Final = Decimal("0.00")
_COINSURANCE: Final = Decimal("0.20")
_SEQUESTRATION: Final = Decimal("0.02")
_SEQUESTERED: Final = ("MB", "16")  # Medicare Part B, and the plans paid by Medicare
_DEDUCTIBLE: Final = {
    "deductible_first": Decimal("40.00"),
    "deductible_only": Decimal("283.00"),
    "zero_pay": Decimal("283.00"),
}
_UNDERPAID: Final = Decimal("0.90")
_INTEREST: Final = Decimal("1.27")
_LONGEST_TRUNCATED: Final = 12
_SUPPLEMENTAL_INSURER: Final = "SANDBOX SUPPLEMENTAL"
_WHOLE_CLAIM: Final = ("medicare_advantage", "inpatient", "unprocessable", "hospice", "other_practitioner")


@dataclass(frozen=True)
class Adjustment:
    """One CAS triple: what was not paid, whose loss it is, and why."""

    group_code: str
    reason_code: str
    amount: Decimal
    quantity: int | None = None


@dataclass(frozen=True)
class PaidLine:
    """One SVC loop."""

    line: Line
    paid: Decimal
    allowed: Decimal
    units_paid: int
    adjustments: tuple[Adjustment, ...]
    remarks: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    control_number: str | None = None
    sign: int = 1  # -1 takes the line back


@dataclass(frozen=True)
class PaidClaim:
    """One CLP loop."""

    claim: Claim
    number: str  # CLP01, ours as the payer sends it back
    status_code: str
    payer_number: str
    lines: tuple[PaidLine, ...]
    remarks: tuple[str, ...] = ()
    forwarded_to: str | None = None
    original_payer_number: str | None = None
    interest: Decimal = NOTHING
    sign: int = field(default=1)

    @property
    def paid(self) -> Decimal:
        """What the payer pays, or takes back."""
        return sum((line.paid for line in self.lines), NOTHING)

    @property
    def patient_responsibility(self) -> Decimal:
        """What the patient owes: everything in group PR."""
        every = (adjustment for line in self.lines for adjustment in line.adjustments)
        return sum((one.amount for one in every if one.group_code == "PR"), NOTHING)


def judge(claim: Claim, case: Case) -> PaidClaim:
    """Decide a claim: what each line is worth, and who bears the rest."""
    deductible = _DEDUCTIBLE.get(case.name, NOTHING)
    lines = []
    for line in claim.lines:
        paid = _denied(line, case, claim) or _priced(line, claim, case, deductible)
        deductible -= sum((one.amount for one in paid.adjustments if one.reason_code == "1"), NOTHING)
        lines.append(paid)
    if case.name == "unbalanced":
        first = lines[0].adjustments[0]
        wrong = (replace(first, amount=first.amount + 1), *lines[0].adjustments[1:])
        lines[0] = replace(lines[0], adjustments=wrong)
    is_crossover = case.name == "crossover"
    return PaidClaim(
        claim=claim,
        number=claim.number[:_LONGEST_TRUNCATED] if case.name == "truncated_number" else claim.number,
        status_code="19" if is_crossover else "1",
        payer_number=payer_number(claim.number),
        lines=tuple(reversed(lines) if case.name == "reordered_lines" else lines),
        remarks=case.remark_codes if is_crossover else (),
        forwarded_to=_SUPPLEMENTAL_INSURER if is_crossover else None,
        interest=_INTEREST if case.name == "interest" else NOTHING,
    )


def reverse(paid: PaidClaim) -> PaidClaim:
    """Take a decision back: the same claim with every amount turned round."""
    lines = tuple(
        replace(
            line,
            paid=-line.paid,
            allowed=-line.allowed,
            adjustments=tuple(replace(one, amount=-one.amount) for one in line.adjustments),
            sign=-1,
        )
        for line in paid.lines
    )
    return replace(
        paid,
        status_code="22",
        lines=lines,
        original_payer_number=paid.payer_number,
        interest=NOTHING,
        sign=-1,
    )


def correct(paid: PaidClaim, case: Case) -> PaidClaim:
    """Decide a claim anew, by the book this time, under a new number of the payer's."""
    claim = paid.claim
    lines = tuple(_priced(line, claim, replace(case, name="paid"), NOTHING) for line in claim.lines)
    return replace(
        paid, lines=lines, payer_number=f"{paid.payer_number}A", original_payer_number=paid.payer_number
    )


def payer_number(claim_number: str) -> str:
    """Number a claim as the payer does: the same claim always gets the same number."""
    digest = hashlib.blake2b(claim_number.encode(), digest_size=6).digest()
    return f"82{int.from_bytes(digest, 'big') % 10**11:011}"


def _denied(line: Line, case: Case, claim: Claim) -> PaidLine | None:
    """Refuse a line whole, where the case says so."""
    earlier_add_on = any(other.code == ADD_ON and other.number < line.number for other in claim.lines)
    units_before = sum(
        other.units for other in claim.lines if other.code == ADD_ON and other.number < line.number
    )
    reason = {
        **dict.fromkeys(_WHOLE_CLAIM, case.reason_code),
        "duplicate_lines": case.reason_code if line.code == ADD_ON and earlier_add_on else None,
        "units_cut": case.reason_code if line.code == ADD_ON and units_before >= 2 else None,
        "primary_denied": "B15" if line.code == ADD_ON else case.reason_code,
    }.get(case.name)
    if reason is None:
        return None
    remarks = case.remark_codes if reason == case.reason_code else ()
    refused = Adjustment(case.group_code, reason, line.charge)
    return PaidLine(line, NOTHING, NOTHING, 0, (refused,), remarks, line.modifiers, line.control_number)


def _priced(line: Line, claim: Claim, case: Case, deductible: Decimal) -> PaidLine:
    """Pay a line by the book: deductible, coinsurance and sequestration, each rounded to the cent.

    Source: the order Medicare contractors publish: sequestration comes last, on each line.
    """
    try:
        fee = unit_fee(
            line.code,
            line.date_of_service,
            place_of_service=claim.place_of_service,
            billing_zip=claim.billing_zip,
            billing_npi=claim.billing_npi,
            is_assigned=claim.is_assigned,
        )
    except NotPayable:
        refused = Adjustment("CO", "96", line.charge)
        return PaidLine(line, NOTHING, NOTHING, 0, (refused,), ("N130",), line.modifiers, line.control_number)
    is_cut = case.name == "units_cut" and line.code == ADD_ON and line.units > 2
    units = 2 if is_cut else line.units
    cut = cents(line.charge * (line.units - units) / line.units)
    allowed = min(line.charge - cut, fee * units)
    if case.name == "reversal_and_correction":
        allowed = cents(allowed * _UNDERPAID)
    from_deductible = min(allowed, deductible)
    coinsurance = cents((allowed - from_deductible) * _COINSURANCE)
    rest = allowed - from_deductible - coinsurance
    sequestration = cents(rest * _SEQUESTRATION) if claim.filing_code in _SEQUESTERED else NOTHING
    adjustments = (
        Adjustment("CO", "45", line.charge - cut - allowed),
        Adjustment("CO", "253", sequestration),
        Adjustment("CO", "151", cut, line.units - units if is_cut else None),
        Adjustment("PR", "1", from_deductible),
        Adjustment("PR", "2", coinsurance),
    )
    return PaidLine(
        line=line,
        paid=rest - sequestration,
        allowed=allowed,
        units_paid=units,
        adjustments=tuple(one for one in adjustments if one.amount),
        remarks=case.remark_codes if is_cut else (),
        modifiers=() if case.name == "modifiers_missing" else line.modifiers,
        control_number=None if case.name == "line_numbers_missing" else line.control_number,
    )
