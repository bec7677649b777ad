"""Cases: what may happen to a claim at the sandbox payer, and to which claim it does.

The table payer_cases.csv lists every case with the stage that shows it and how often it happens by chance;
`infra.sandbox.payer_judgement` and `infra.sandbox.payer_acknowledgements` act each one out.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from infra.sandbox.payer_claims import ADD_ON, Claim, ClaimFile
from infra.sandbox.practices import table

MIXES: Final = ("default", "paid")
ALL: Final = "all"
_SMALL_SHARE: Final = 0.4


class BadScript(ValueError):
    """A script names a case or a claim that is not there, or that do not fit together."""


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    stage: str  # what shows it: TA1, 999, 277CA or 835
    group_code: str
    reason_code: str
    remark_codes: tuple[str, ...]
    needs: str
    has_own_remittance: bool
    per_thousand: int

    def fits(self, claim: Claim) -> bool:
        """Tell whether the claim has what the case plays with."""
        add_ons = [line for line in claim.lines if line.code == ADD_ON]
        return {
            "any": True,
            "add_on": bool(add_ons),
            "two_add_on_lines": len(add_ons) > 1,
            "three_add_on_units": sum(line.units for line in add_ons) > 2,
            "two_lines": len(claim.lines) > 1,
            "modifiers": any(line.modifiers for line in claim.lines),
            "medicare": claim.filing_code == "MB",
        }[self.needs]


@cache
def cases() -> dict[str, Case]:
    """Read the table: every case by its name."""
    return {
        row["case"]: Case(
            name=row["case"],
            stage=row["stage"],
            group_code=row["group_code"] or "",
            reason_code=row["reason_code"] or "",
            remark_codes=tuple((row["remark_codes"] or "").split(";")) if row["remark_codes"] else (),
            needs=row["needs"],
            has_own_remittance=row["has_own_remittance"] == "true",
            per_thousand=int(row["per_thousand"]),
        )
        for row in table("payer_cases.csv").to_dicts()
    }


def choose(files: Iterable[ClaimFile], seed: int, mix: str, script: Iterable[str]) -> dict[str, Case]:
    """Say what happens to each claim.

    Args:
        files: The files to be answered.
        seed: The same seed and claim give the same case, whatever else is in the file.
        mix: `paid`, or `default` for the chances of the table.
        script: `case=claim_number`, or `all` for every case once in each file that has a claim for it.

    Raises:
        BadScript: If a line of the script cannot be played.
    """
    chosen: dict[str, Case] = {}
    for file in files:
        own = {claim.number: claim for claim in file.claims}
        scripted = _scripted(own, script)
        if ALL in script:
            scripted = _spread(file, seed) | scripted
        for number, claim in own.items():
            chosen[number] = scripted.get(number) or _by_chance(claim, seed, mix)
    _require_all_played(script, chosen)
    return chosen


def _scripted(claims: dict[str, Claim], script: Iterable[str]) -> dict[str, Case]:
    wanted = {}
    for name, number in (line.split("=", 1) for line in script if "=" in line):
        if number not in claims:
            continue
        case = cases().get(name)
        if case is None:
            raise BadScript(f"There is no case {name}; the cases are {', '.join(cases())}.")
        if not case.fits(claims[number]):
            raise BadScript(
                f"Case {name} needs a claim with {case.needs}; {number} has none. Choose another."
            )
        wanted[number] = case
    return wanted


def _require_all_played(script: Iterable[str], chosen: dict[str, Case]) -> None:
    for line in script:
        number = line.partition("=")[2]
        if line != ALL and (not number or number not in chosen):
            raise BadScript(
                f"{line}: write case=claim_number with a claim in a file not answered yet, or `all`."
            )


def _spread(file: ClaimFile, seed: int) -> dict[str, Case]:
    """Play every case on a claim of its own; a transaction set is rejected only if it is a small one."""
    sizes = Counter(claim.transaction for claim in file.claims)
    smallest = min(sizes, key=lambda transaction: sizes[transaction], default="")
    lost = smallest if sizes[smallest] < len(file.claims) * _SMALL_SHARE else None
    order = sorted(file.claims, key=lambda claim: _chance(claim.number, seed).random())
    chosen: dict[str, Case] = {}
    for case in cases().values():
        is_of_lost = case.stage == "999"
        among = (
            claim for claim in order if (claim.transaction == lost) == is_of_lost and case.stage != "TA1"
        )
        claim = next((claim for claim in among if claim.number not in chosen and case.fits(claim)), None)
        if claim is not None:
            chosen[claim.number] = case
    return chosen


def _by_chance(claim: Claim, seed: int, mix: str) -> Case:
    paid = cases()["paid"]
    if mix == "paid":
        return paid
    drawn = _chance(claim.number, seed).uniform(0, 1000)
    for case in cases().values():
        drawn -= case.per_thousand
        if drawn < 0:
            return case if case.fits(claim) else paid
    return paid


def _chance(number: str, seed: int) -> random.Random:
    return random.Random(f"{seed} {number}")  # noqa: S311 - nothing secret
