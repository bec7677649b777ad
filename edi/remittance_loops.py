"""Remittance loops: which payment, claim and line of an 835 each segment belongs to.

`edi.remittance_tables` fills its frames by them. The numbers run through all parts of a file. What a segment
says does not belong here.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from edi.elements import code, taken
from edi.nesting import Rows
from edi.segments import Document

_CLAIM_ENDS = ("CLP", "LX", "TS3", "TS2", "PLB", "ST", "SE", "GS", "GE", "ISA", "IEA")


@dataclass(frozen=True)
class Counts:
    """How many of each loop the earlier parts of a file held."""

    payments: int = 0
    claims: int = 0
    lines: int = 0


class Loops:
    """Which payment, claim and line each row of a document belongs to."""

    def __init__(self, document: Document, before: Counts) -> None:
        """Find the CLP and SVC loops of the document's 835 transaction sets."""
        self.document = document
        self._before = before
        self.sets = document.sets_of("835")
        # One set may go on from the part before.
        self.is_new = self.sets["first_segment"].to_numpy() >= document.number([0])[0]
        self.first_payment = before.payments + 1 - int((~self.is_new).sum())
        self.clp, clp_set = document.rows_in("835", "CLP")
        self.svc, _ = document.rows_in("835", "SVC")
        self.claim_payment = self.payment(clp_set)
        ends = document.rows(*_CLAIM_ENDS)
        self._claim_of = self._owner(self.clp, ends, before.claims)
        self._line_of = self._owner(self.svc, np.sort(np.concatenate([self.svc, ends])), before.lines)
        # Few rows stand in no claim, however large the part.
        outside = np.flatnonzero(self._claim_of == 0)
        self._is_all_in_claims = not len(outside)
        self._header, header_set = document.within("835", outside)
        self._header_payment = self.payment(header_set)
        self._in_claims: dict[str, Rows] = {}

    @property
    def after(self) -> Counts:
        """What the next part must count from."""
        return Counts(
            self.first_payment + len(self.sets) - 1,
            self._before.claims + len(self.clp),
            self._before.lines + len(self.svc),
        )

    def payment(self, transactions: Rows) -> Rows:
        """Number the payments of these transaction sets."""
        return np.searchsorted(self.sets["transaction"].to_numpy(), transactions) + self.first_payment

    def _owner(self, starts: Rows, bounds: Rows, before: int) -> Rows:
        """Give every row the number of the loop it lies in, from its start to the next bound; 0 for none."""
        numbers = np.zeros(len(bounds) + 1, np.int64)
        numbers[np.searchsorted(bounds, starts) + 1] = np.arange(len(starts)) + before + 1
        return np.repeat(numbers, np.diff(bounds, prepend=0, append=len(self.document)))

    def claims(self, rows: Rows) -> Rows:
        """Give the claim of each row; 0 for none."""
        claims: Rows = self._claim_of[rows]
        return claims

    def lines(self, rows: Rows) -> Rows:
        """Give the line of each row; 0 for none."""
        lines: Rows = self._line_of[rows]
        return lines

    def in_claims(self, tag: str) -> Rows:
        """Find the rows of one id inside claims or lines."""
        if tag not in self._in_claims:
            rows = self.document.rows(tag)
            if not self._is_all_in_claims:
                rows = rows[(self._claim_of[rows] > 0) | (self._line_of[rows] > 0)]
            self._in_claims[tag] = rows
        return self._in_claims[tag]

    def places(self, rows: Rows) -> dict[str, pl.Series]:
        """Say for each row its claim, line (null at claim level) and segment."""
        return {
            "claim": _null_if_zero(self._claim_of[rows]),
            "line": _null_if_zero(self._line_of[rows]),
            "segment": pl.Series(self.document.number(rows)),
        }

    def first_of_lines(self, tag: str, is_wanted: pl.Series, values: pl.Series) -> pl.Series:
        """Take for each line the value of its first wanted segment; null for none.

        Args:
            tag: The segments looked at; the other two arguments stand beside `in_claims(tag)`.
            is_wanted: Whether a segment is looked for; null is no.
            values: What it says.
        """
        wanted = _where(is_wanted)
        owners = self._line_of[self.in_claims(tag)[wanted]] - self._before.lines
        return _of_first(owners, len(self.svc), wanted, values)

    def first_of_claims(self, tag: str, is_wanted: pl.Series, values: pl.Series) -> pl.Series:
        """Take for each claim the value of its first wanted segment outside its lines, likewise."""
        wanted = _where(is_wanted)
        rows = self.in_claims(tag)[wanted]
        of_claim = self._line_of[rows] == 0
        owners = self._claim_of[rows[of_claim]] - self._before.claims
        return _of_first(owners, len(self.clp), wanted[of_claim], values)

    def first_of_payments(self, tag: str, qualifier: str | None = None) -> Rows:
        """Find the row of the first segment of an id in the header of each payment; -1 for none."""
        found = self.document.tags(self._header) == code(tag)
        if qualifier is not None:
            found &= self.document.codes(self._header, 1) == code(qualifier)
        owners = self._header_payment[found] - self.first_payment + 1
        return _first(owners, len(self.sets), self._header[found])


def _where(marks: pl.Series) -> Rows:
    """Find the places of True."""
    marks = marks.fill_null(value=False) if marks.null_count() else marks
    return np.flatnonzero(marks.to_numpy())


def _of_first(owners: Rows, count: int, places: Rows, values: pl.Series) -> pl.Series:
    if not len(places):
        return values.clear(count)
    return taken(values, _first(owners, count, places))


def _first(owners: Rows, count: int, places: Rows) -> Rows:
    """Find the first of `places` for each of `count` owners, which count from 1; -1 for none."""
    found = np.full(count, -1, np.int64)
    owned = owners > 0
    # Of several values for one owner the last assigned stays, so they are assigned backwards.
    found[(owners[owned] - 1)[::-1]] = places[owned][::-1]
    return found


def _null_if_zero(numbers: Rows) -> pl.Series:
    if numbers.all():
        return pl.Series(numbers)
    is_valid = np.packbits(numbers != 0, bitorder="little")
    buffers = [pa.py_buffer(is_valid), pa.py_buffer(numbers)]
    return pl.Series(pa.Array.from_buffers(pa.int64(), len(numbers), buffers))
