"""Line matching: which line of ours a payer's line answers.

`tasks.matching` calls it once the claims are known. Our line control number decides where it came back; two
lines of one code look alike, so without it a line is matched only where nothing else could be meant. A line
that a payer split, or paid with fewer units, answers the line it came from.
"""

from typing import Final

import polars as pl

# What a line is recognised by without its control number, the most telling first. Payers drop modifiers and
# split charges, so later rungs know less; each must still point to exactly one line of the claim.
RUNGS: Final = (
    ("code", "modifiers", "charge", "date_of_service"),
    ("code", "charge", "date_of_service"),
    ("code", "modifiers", "date_of_service"),
    ("code", "date_of_service"),
    ("code",),
)


def match_lines(answered: pl.DataFrame, ours: pl.DataFrame) -> pl.DataFrame:
    """Find the line of ours for each answered line, where there is exactly one.

    Args:
        answered: line, claim_id, line_control_number, code (as we submitted it), modifiers, charge,
            date_of_service.
        ours: claim_id, line_number, line_control_number, code, modifiers, charge, date_of_service.

    Returns:
        line, claim_line_number; answered lines without a match are left out.
    """
    by_control = answered.join(
        ours.select("claim_id", "line_control_number", claim_line_number="line_number"),
        on=["claim_id", "line_control_number"],
    ).select("line", "claim_line_number")
    found = [by_control]
    # A number that is not ours is as good as none; one that is ours is never looked at again.
    open_lines = answered.join(by_control, on="line", how="anti")
    taken = ["claim_id", "claim_line_number"]
    known = answered.join(by_control, on="line").select(taken)
    free = ours.rename({"line_number": "claim_line_number"}).join(known, on=taken, how="anti")
    for rung in RUNGS:
        if open_lines.is_empty():
            break
        keys = ["claim_id", *rung]
        only = free.filter(pl.len().over(keys) == 1)
        matched = open_lines.join(only.select(*keys, "claim_line_number"), on=keys).select(
            "line", "claim_line_number"
        )
        found.append(matched)
        open_lines = open_lines.join(matched, on="line", how="anti")
    return pl.concat(found)
