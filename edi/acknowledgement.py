"""Acknowledgements: TA1, 999 and its older form 997, as frames.

`edi.reader` and the posting of responses use it. `acknowledgements` says what became of an interchange, a
group or a transaction set of ours; `errors` says where a 999 found fault. The bad value itself stays in the
frame and never comes into a finding: it may be a name. What to do about a rejection does not belong here.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from edi.findings import collect, findings
from edi.nesting import Rows
from edi.segments import Document
from edi.values import as_date

_TYPES = ("999", "997")
_FENCES = ("AK1", "AK2", "IK5", "AK5", "AK9", "ST", "SE", "GS", "GE", "ISA", "IEA")
_CODES = {"interchange": "AER", "group": "AEPRMWX", "transaction": "AERMWX"}

_ACKNOWLEDGEMENTS = {
    "kind": pl.String(),
    "level": pl.String(),  # interchange, group or transaction
    "transaction": pl.Int64(),  # null for a TA1, which stands in none
    "segment": pl.Int64(),
    "interchange_control_number": pl.String(),  # of ours
    "group_control_number": pl.String(),
    "transaction_control_number": pl.String(),
    "code": pl.String(),
    "note_code": pl.String(),
    "functional_code": pl.String(),
    "version": pl.String(),
    "interchange_date": pl.Date(),
    "included_count": pl.Int64(),
    "received_count": pl.Int64(),
    "accepted_count": pl.Int64(),
}


@dataclass(frozen=True)
class Acknowledgements:
    """What TA1, 999 and 997 say.

    Attributes:
        acknowledgements: One row per TA1, per AK2 (code of its IK5 or AK5) and per AK9, in file order.
        errors: One row per IK4, or per IK3 without any; `claim_number` is what CTX gives as CLM01.
        findings: What cannot be read.
    """

    acknowledgements: pl.DataFrame
    errors: pl.DataFrame
    findings: pl.DataFrame


def read_acknowledgements(document: Document) -> Acknowledgements:
    """Read every TA1, 999 and 997 of a document."""
    is_there = len(document.rows("TA1")) or document.transactions["type"].is_in(_TYPES).any()
    return _read(document) if is_there else _nothing()


@cache
def _nothing() -> Acknowledgements:
    """Give the tables of a file without any segment; most files acknowledge nothing."""
    return _read(Document.read(b""))


def _read(document: Document) -> Acknowledgements:
    sets = _TransactionSets(document)
    acknowledgements = pl.concat(
        [pl.DataFrame(schema=_ACKNOWLEDGEMENTS), _interchanges(document), sets.transactions(), sets.groups()],
        how="diagonal_relaxed",
    ).sort("segment", maintain_order=True)
    return Acknowledgements(acknowledgements, sets.errors(), _findings(document, acknowledgements, sets))


def _interchanges(document: Document) -> pl.DataFrame:
    rows = document.rows("TA1")
    return pl.DataFrame(
        {
            "segment": document.number(rows),
            "interchange_control_number": document.element(rows, 1),
            "interchange_date": document.element(rows, 2),
            "code": document.element(rows, 4),
            "note_code": document.element(rows, 5),
        }
    ).with_columns(as_date(pl.col("interchange_date")), kind=pl.lit("TA1"), level=pl.lit("interchange"))


class _TransactionSets:
    """The loops of 999 and 997: AK1 a group, AK2 a set, IK3 (AK3) a faulty segment, IK4 (AK4) an element."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.ak2 = self._rows("AK2")
        self.ak9 = self._rows("AK9")
        self.closes = self._rows("IK5", "AK5")
        # The IK5 of an AK2 is the first behind it, unless another AK2 or the AK9 comes before.
        opened = document.last_of("AK2", "AK1", "AK9", "ST", "SE", "GS", "GE", "ISA", "IEA")[self.closes]
        self._close_of = np.full(len(document) + 1, -1, np.int64)
        self._close_of[opened[::-1]] = self.closes[::-1]
        self.stray = self.closes[self._close_of[opened] != self.closes]
        self.stray = np.union1d(self.stray, self.closes[~np.isin(opened, self.ak2)])

    def _rows(self, *tags: str) -> Rows:
        rows = self.document.rows(*tags)
        return np.sort(np.concatenate([self.document.within(kind, rows)[0] for kind in _TYPES]))

    def _common(self, rows: Rows) -> dict[str, pl.Series]:
        """What every row of a 999 shares: which group of ours it speaks of."""
        document = self.document
        opened = document.last_of("AK1", "ST", "SE", "GS", "GE", "ISA", "IEA")
        ak1 = np.where(np.isin(opened[rows], self._rows("AK1")), opened[rows], -1)
        transaction = document.transaction_of(document.number(rows))
        types = document.transactions.select("transaction", kind="type")
        return {
            "kind": pl.DataFrame({"transaction": transaction}).join(
                types, on="transaction", how="left", maintain_order="left"
            )["kind"],
            "transaction": transaction,
            "segment": pl.Series(document.number(rows)),
            "functional_code": document.element(ak1, 1),
            "group_control_number": document.element(ak1, 2),
            "version": document.element(ak1, 3),
        }

    def transactions(self) -> pl.DataFrame:
        """One row per AK2."""
        close = self._close_of[self.ak2]
        return pl.DataFrame(
            {
                **self._common(self.ak2),
                "transaction_control_number": self.document.element(self.ak2, 2),
                "code": self.document.element(close, 1),
                "note_code": self.document.element(close, 2),
            }
        ).with_columns(level=pl.lit("transaction"))

    def groups(self) -> pl.DataFrame:
        """One row per AK9."""
        counts = {"included_count": 2, "received_count": 3, "accepted_count": 4}
        return pl.DataFrame(
            {
                **self._common(self.ak9),
                "code": self.document.element(self.ak9, 1),
                "note_code": self.document.element(self.ak9, 5),
                **{name: self.document.element(self.ak9, position) for name, position in counts.items()},
            }
        ).with_columns(pl.col(*counts).cast(pl.Int64, strict=False), level=pl.lit("group"))

    def errors(self) -> pl.DataFrame:
        """One row per faulty element, or per faulty segment where no element is named."""
        document = self.document
        segments, elements = self._rows("IK3", "AK3"), self._rows("IK4", "AK4")
        opened = document.last_of("IK3", "AK3", *_FENCES)
        bare = np.setdiff1d(segments, opened[elements])
        rows = np.sort(np.concatenate([bare, elements]))
        segment = np.where(np.isin(opened[rows], segments), opened[rows], -1)
        element = np.where(np.isin(rows, elements), rows, -1)
        transaction = document.last_of("AK2", "AK1", "AK9", "ST", "SE")[rows]
        ak2 = np.where(np.isin(transaction, self.ak2), transaction, -1)
        return pl.DataFrame(
            {
                **{
                    name: column
                    for name, column in self._common(rows).items()
                    if name not in ("functional_code", "version")
                },
                "transaction_control_number": document.element(ak2, 2),
                "error_segment_id": document.element(segment, 1),
                "error_segment_position": document.element(segment, 2),
                "error_loop": document.element(segment, 3),
                "segment_code": document.element(segment, 4),
                "element_position": document.component(element, 1, 1),
                "component_position": document.component(element, 1, 2),
                "element_reference": document.element(element, 2),
                "element_code": document.element(element, 3),
                "bad_value": document.element(element, 4),
                "claim_number": self._claim_number(segment, opened),
            }
        ).with_columns(
            pl.col("error_segment_position", "element_position", "component_position").cast(
                pl.Int64, strict=False
            )
        )

    def _claim_number(self, segment: Rows, opened: Rows) -> pl.Series:
        """Find the CLM01 that a CTX beside each faulty segment gives."""
        document = self.document
        ctx = self._rows("CTX")
        ctx = ctx[(document.component(ctx, 1, 1) == "CLM01").fill_null(value=False).to_numpy()]
        named = np.full(len(document) + 1, -1, np.int64)
        named[opened[ctx][::-1]] = ctx[::-1]
        return document.component(np.where(segment >= 0, named[segment], -1), 1, 2)


def _findings(document: Document, acknowledgements: pl.DataFrame, sets: _TransactionSets) -> pl.DataFrame:
    known = pl.any_horizontal(
        (pl.col("level") == level) & pl.col("code").is_in(list(codes)) for level, codes in _CODES.items()
    )
    element = pl.col("level").replace_strict(
        {"interchange": "TA104", "group": "AK901", "transaction": "IK501"}, default=None
    )
    stray = pl.DataFrame({"segment": document.number(sets.stray)})
    return collect(
        findings(
            acknowledgements.filter(pl.col("code").is_null()),
            "missing_code",
            pl.format("The acknowledgement gives no code in {}; ask the sender what became of it.", element),
            element=element,
        ),
        findings(
            acknowledgements.filter(pl.col("code").is_not_null() & ~known),
            "unknown_code",
            pl.format("The code in {} is none of those the standard knows.", element),
            element=element,
        ),
        findings(
            stray.with_columns(transaction=document.transaction_of(stray["segment"])),
            "code_out_of_place",
            "This code answers no AK2, or one that was answered before; it is not read.",
            element="IK5",
        ),
    )
