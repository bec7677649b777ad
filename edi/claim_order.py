"""The order of an 837P: where each claim and line stands in its file, and under which level.

`edi.claim_837p` writes by it. What a claim says does not matter here, only whose it is.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from edi.claim_columns import as_written, says_one
from edi.claim_places import Rows

_NO_CLAIM = -1


@dataclass(frozen=True)
class Order:
    """The order of a file, as rows of the frames it is written from.

    Attributes:
        claims: The claims in file order.
        lines: The lines claim by claim as the frame has them, each one's by line number.
        first_line: The place in `lines` of each claim's first; by row of the claims.
        line_count: By row of the claims.
    """

    claims: Rows
    lines: Rows
    first_line: Rows
    line_count: Rows

    def lines_of(self, claims: Rows) -> tuple[Rows, Rows]:
        """Find the rows of some claims' lines, claim by claim, and their LX01, counted from 1."""
        count = self.line_count[claims]
        place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return self.lines[np.repeat(self.first_line[claims], count) + place], place + 1


@dataclass(frozen=True)
class Levels:
    """The HL levels of claims in file order, and the places of texts: one a provider, a claim and a line.

    Attributes:
        start: The rows of the claims that their provider's loop comes right before.
        level: HL01 of the claim.
        parent: HL01 of its provider.
        claim: The place of the claim's text, its provider's right before it, its lines' right behind.
        set_ends: The number of texts up to the end of each transaction set.
    """

    start: Rows
    level: Rows
    parent: Rows
    claim: Rows
    set_ends: Rows


def file_order(claims: pl.DataFrame, lines: pl.DataFrame) -> Order:
    """Order claims by billing NPI and claim number, and each one's lines by line number.

    Raises:
        ValueError: If a claim number occurs twice, or a line has no claim.
    """
    keys = as_written(claims.select("billing_npi", "claim_number"))
    owner, number = _owners(keys.select("claim_number"), lines), lines["line_number"].fill_null(0).to_numpy()
    line_count = np.bincount(owner, minlength=claims.height)
    return Order(
        claims=_claim_order(keys),
        lines=_line_order(owner, number),
        first_line=np.cumsum(line_count) - line_count,
        line_count=line_count,
    )


def find_levels(providers: pl.DataFrame, line_count: Rows, most: int) -> Levels:
    """Number claims in file order, the first of which begins a transaction set of at most `most` claims."""
    row = np.arange(providers.height)
    in_set = row % most
    is_start = in_set == 0
    is_start[_changes(providers)] = True
    started = np.cumsum(is_start)
    # HL01 counts both levels through a set: a provider's comes right before its first claim's.
    level = in_set + 2 + started - started[row - in_set]
    end = np.cumsum(line_count + 1) + started
    return Levels(
        start=np.flatnonzero(is_start),
        level=level,
        parent=level[is_start][started - 1] - 1,
        claim=end - line_count - 1,
        set_ends=end[(in_set == most - 1) | (row == len(row) - 1)],
    )


def _changes(providers: pl.DataFrame) -> Rows:
    """Find the rows whose provider, as it is written, is another than that of the row before."""
    unlike = [column for column in providers.iter_columns() if not says_one(column)]
    if not unlike:
        return np.empty(0, np.int64)
    providers, is_other = pl.DataFrame(unlike), pl.any_horizontal(pl.all().ne_missing(pl.all().shift(1)))
    changed = providers.select(is_other).to_series().arg_true()
    written = as_written(providers[changed]).select(is_other).to_series()
    return changed.filter(written).to_numpy().astype(np.int64)


def _claim_order(keys: pl.DataFrame) -> Rows:
    """Order the claims by billing NPI and claim number."""
    numbers = keys["claim_number"]
    by_number = numbers.arg_sort().to_numpy()
    ordered = numbers[by_number]
    if (ordered[1:] == ordered[:-1]).any():
        raise ValueError("A claim number occurs twice (after folding); one interchange carries a claim once.")
    providers = keys["billing_npi"].fill_null("")
    rank = providers.cast(pl.Enum(providers.unique().sort())).to_physical().to_numpy()[by_number]
    return by_number[np.argsort(rank, kind="stable")].astype(np.int64)


def _line_order(owner: Rows, number: Rows) -> Rows:
    """Order lines by their claim and by number, as nearly every frame has them already."""
    is_next = owner[1:] > owner[:-1]
    is_same = owner[1:] == owner[:-1]
    if (is_next | (is_same & (number[1:] >= number[:-1]))).all():
        return np.arange(len(owner))
    return np.lexsort((number, owner))


def _owners(claims: pl.DataFrame, lines: pl.DataFrame) -> Rows:
    """Find the row of each line's claim; neighbouring lines of one claim are looked up once.

    Frames made together have their claims in one order; then nothing is looked up.
    """
    numbers = lines["claim_number"].fill_null("")  # which is no claim's
    is_new = (numbers[1:] != numbers[:-1]).to_numpy()
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(numbers)), np.bool_), is_new]))
    firsts = numbers[starts].to_frame()
    if firsts.equals(claims, null_equal=False):
        rows = np.arange(claims.height)
    else:
        found = as_written(firsts).join(
            claims.with_row_index("row"), on="claim_number", how="left", maintain_order="left"
        )
        rows = found["row"].cast(pl.Int64).fill_null(_NO_CLAIM).to_numpy()
    owners = np.repeat(rows, np.diff(starts, append=len(numbers)))
    orphans = np.count_nonzero(owners == _NO_CLAIM)
    if orphans:
        raise ValueError(f"{orphans} lines belong to no claim of this interchange.")
    return owners
