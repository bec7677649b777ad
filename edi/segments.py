"""Segments: a file of X12, cut and nested, for every reader of this room.

A `Document` is the whole file, or one part of a large one (`edi.parts`). `edi.elements` looks values up in
it, `edi.nesting` says what lies in what. What a segment means belongs to the readers.
"""

from __future__ import annotations

from functools import cached_property
from mmap import mmap

import numpy as np
import numpy.typing as npt
import polars as pl

from edi.delimiters import Span, find_spans
from edi.elements import Elements, code, latest, taken
from edi.findings import collect
from edi.nesting import (
    ELEMENTS,
    ENVELOPE_SCHEMA,
    ENVELOPE_TAGS,
    NOTHING_BEFORE,
    Before,
    Nesting,
    Rows,
    nest,
)
from edi.syntax import syntax_findings
from edi.trailers import nesting_findings

# What a transaction set without its ST must be, told by a segment only that type has.
_WITNESSES = {"835": ("CLP", "SVC"), "999": ("AK1", "AK2", "AK9", "IK3"), "277": ("STC",), "837": ("CLM",)}
_WITNESSES_OF_A_FRAGMENT = _WITNESSES | {"835": ("BPR", "CLP", "SVC")}


class Document(Elements):
    """The segments of a file, or of a part of it, and the envelopes they lie in."""

    def __init__(self, data: bytes | mmap, spans: list[Span], before: Before = NOTHING_BEFORE) -> None:
        """Cut `data` along `spans`; `before` is what the earlier parts of the file left open."""
        super().__init__(data, spans, before.segments)
        self._spans = spans
        self._before = before
        self._sets_of: dict[str, pl.DataFrame] = {}

    @classmethod
    def read(cls, data: bytes) -> Document:
        """Cut a whole file; never raises, whatever the bytes are."""
        return cls(data, find_spans(data))

    @cached_property
    def segments(self) -> pl.DataFrame:
        """One row per segment: segment, tag, interchange, group, transaction, element_count; null outside."""
        rows = np.arange(len(self))
        levels = {"interchange": self.interchanges, "group": self.groups, "transaction": self.transactions}
        return pl.DataFrame(
            {"segment": self.number(rows), "tag": self.element(rows, 0).str.strip_chars()}
            | {name: taken(frame[name], _holding(frame, self.number(rows))) for name, frame in levels.items()}
            | {"element_count": self.counts(rows) - 1}
        )

    @cached_property
    def envelope(self) -> pl.DataFrame:
        """The envelope segments, and a stand-in where a transaction set lacks its ST; see `edi.nesting`."""
        rows = self.rows(*ENVELOPE_TAGS)
        if not len(rows) and self._is_inside:
            return pl.DataFrame(schema=ENVELOPE_SCHEMA)
        frame = pl.DataFrame(
            {
                "segment": self.number(rows),
                # An ISA is padded by its nature, and may stand behind a blank as well.
                "tag": self.element(rows, 0).str.strip_chars(),
                "is_implied": False,
            }
            | {f"e{position:02}": self.element(rows, position) for position in range(1, ELEMENTS + 1)},
            schema=ENVELOPE_SCHEMA,
        )
        return pl.concat([frame, self._implied(rows)]).sort("segment", maintain_order=True)

    @property
    def _is_inside(self) -> bool:
        """Whether a transaction set is open where this part begins."""
        return "ST" in self._before.envelope["tag"].to_list()

    def _implied(self, rows: Rows) -> pl.DataFrame:
        """Find the runs of segments outside any ST that only a transaction set can hold."""
        edges = np.concatenate([np.full(1, -1), rows, np.full(1, len(self))])
        tags = np.concatenate([np.full(1, 0), self._tags[rows]])
        opens = np.isin(tags, [code("ST")])
        opens[0] = self._is_inside
        gap = np.flatnonzero((np.diff(edges) > 1) & ~opens)
        is_fragment = any(span.shape == "fragment" for span in self._spans)
        starts, types = edges[gap] + 1, np.full(len(gap), "", dtype="<U3")
        for kind, witnesses in (_WITNESSES_OF_A_FRAGMENT if is_fragment else _WITNESSES).items():
            seen = self.rows(*witnesses)
            has = np.searchsorted(seen, starts) < np.searchsorted(seen, edges[gap + 1])
            types[has & (types == "")] = kind
        found = types != ""
        implied = pl.DataFrame(
            {"segment": self.number(starts[found]), "tag": "ST", "is_implied": True, "e01": types[found]},
            schema_overrides={name: ENVELOPE_SCHEMA[name] for name in ("segment", "tag", "e01")},
        )
        return pl.concat([pl.DataFrame(schema=ENVELOPE_SCHEMA), implied], how="diagonal")

    @cached_property
    def _nesting(self) -> Nesting:
        return nest(self.envelope, self._before.segments + len(self), self._before)

    @property
    def after(self) -> Before:
        """What this part leaves open for the next."""
        return self._nesting.after

    @property
    def interchanges(self) -> pl.DataFrame:
        """One row per ISA."""
        return self._nesting.interchanges

    @property
    def groups(self) -> pl.DataFrame:
        """One row per GS."""
        return self._nesting.groups

    @property
    def transactions(self) -> pl.DataFrame:
        """One row per ST, with what its GS and ISA say."""
        return self._nesting.transactions

    def transaction_of(self, numbers: npt.ArrayLike) -> pl.Series:
        """Find the transaction set of segments given by their number; null for none."""
        at = _holding(self.transactions, np.asarray(numbers, np.int64))
        return taken(self.transactions["transaction"], at)

    def rows_in(self, transaction_type: str, *tags: str) -> tuple[Rows, Rows]:
        """Find the rows of these ids inside transaction sets of one type, and the transaction of each."""
        return self.within(transaction_type, self.rows(*tags))

    def within(self, transaction_type: str, rows: Rows) -> tuple[Rows, Rows]:
        """Keep the rows inside transaction sets of one type, and give the transaction of each."""
        if not len(rows):
            return rows, rows
        sets = self.sets_of(transaction_type)
        transactions = sets["transaction"].to_numpy()
        at_first, at_last = _holding(sets, self.number(rows[[0, -1]]))
        if at_first == at_last >= 0:
            # A part of a large file lies in one set, nearly always.
            return rows, np.full(len(rows), transactions[at_first])
        at = _holding(sets, self.number(rows))
        return rows[at >= 0], transactions[at[at >= 0]]

    def sets_of(self, transaction_type: str) -> pl.DataFrame:
        """Give the transaction sets of one type."""
        if transaction_type not in self._sets_of:
            self._sets_of[transaction_type] = self.transactions.filter(type=transaction_type)
        return self._sets_of[transaction_type]

    @cached_property
    def findings(self) -> pl.DataFrame:
        """What is wrong with the envelope and the segments as such."""
        return collect(
            self.syntax_findings, nesting_findings(self.envelope, self._before.segments + len(self))
        )

    @cached_property
    def syntax_findings(self) -> pl.DataFrame:
        """What is wrong with the file as text; the envelope is looked at apart."""
        return syntax_findings(
            self._spans,
            isa=self.number(self.rows("ISA")),
            bad_ids=self.number(self._bad_ids()),
            cut_short=self.number([len(self) - 1] if self._cut.is_cut_short else []),
            ends_with_iea=len(self) > 0 and int(self._tags[-1]) == code("IEA"),
            has_odd_bytes=self._cut.has_odd_bytes,
        )


def _holding(frame: pl.DataFrame, numbers: Rows) -> Rows:
    """Look up which row of `frame` holds each segment; -1 for none."""
    first, last = (frame[bound].to_numpy() for bound in ("first_segment", "last_segment"))
    at = latest(first, numbers)
    return np.where(numbers <= np.append(last, np.int64(0))[at], at, -1)
