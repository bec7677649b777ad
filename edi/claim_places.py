"""Where everything of an 837P stands: for each claim and line of a document, the row of each of its segments.

`edi.claim_reader` takes values from these places and `edi.edits` judges them; both name an element by its
path, like `2010BA/NM1-09`, `2300/CLM-05-1` or `2300/REF*F8-02`: loop, segment with the qualifier that tells
it from its siblings, element, component. What a value means does not belong here.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from edi.segments import Document

Rows = NDArray[np.int64]
Ask = Callable[[str], Rows]

_PATH: Final = re.compile(
    r"^(?P<place>[0-9A-Z]+/[A-Z0-9]+(?:\*\w+)?)-(?P<element>\d\d)(?:-(?P<component>\d))?$"
)
_FENCES: Final = ("ISA", "GS", "ST", "SE", "GE", "IEA")
_ELEMENTS_OF_HI: Final = 24  # twelve are allowed; more are somebody's mistake to be told
DIAGNOSIS_QUALIFIERS: Final = ("ABK", "ABF", "BK", "BF")  # ICD-10-CM, and ICD-9-CM of old files


@dataclass(frozen=True)
class Places:
    """The rows of each place, -1 where a claim or line has no such segment.

    `claims` and `lines` are keyed by loop and segment (`2010AA/NM1`); `line_claim` is each line's claim,
    counted from 0, and `claim_transaction` each claim's transaction set, counted from 1.
    """

    document: Document
    claims: dict[str, Rows]
    lines: dict[str, Rows]
    claim_transaction: Rows
    line_claim: Rows
    claim_end: Rows

    def diagnoses(self) -> pl.DataFrame:
        """List every HI element of the claims in order: claim (from 0), segment, qualifier, code."""
        document = self.document
        first, end = self.claims["2300/CLM"], self._claim_level_end
        rows = document.rows("HI")
        claim = np.searchsorted(first, rows) - 1
        inside = claim >= 0
        inside[inside] = rows[inside] < end[claim[inside]]
        rows, claim = rows[inside], claim[inside]
        parts = []
        for position in range(1, _ELEMENTS_OF_HI + 1):
            composite = document.element(rows, position)
            has = composite.is_not_null()
            if not has.any():
                continue
            held = np.flatnonzero(has.to_numpy())
            parts.append(
                pl.DataFrame(
                    {
                        "claim": claim[held],
                        "row": rows[held],
                        "position": np.full(len(held), position),
                        "qualifier": document.component(rows[held], position, 1),
                        "code": document.component(rows[held], position, 2),
                    }
                )
            )
        kinds = {
            "claim": pl.Int64,
            "row": pl.Int64,
            "position": pl.Int64,
            "qualifier": pl.String,
            "code": pl.String,
        }
        found = pl.concat([pl.DataFrame(schema=kinds), *parts]).sort("row", "position")
        return found.with_columns(segment=pl.Series(document.number(found["row"].to_numpy()), dtype=pl.Int64))

    @property
    def _claim_level_end(self) -> Rows:
        return next_of(self.document.rows("LX", "SV1", "SBR"), self.claims["2300/CLM"], self.claim_end)


def take(document: Document, rows: Mapping[str, Rows], paths: Iterable[str]) -> pl.DataFrame:
    """Take elements as text, one column for each path; `rows` says where the segment of each place stands."""
    columns = {}
    for path in paths:
        place, element, component = split(path)
        columns[path] = (
            document.component(rows[place], element, component)
            if component
            else document.element(rows[place], element)
        )
    return pl.DataFrame(columns)


def split(path: str) -> tuple[str, int, int]:
    """Split a path into its place, element and component (0: the whole element)."""
    found = _PATH.match(path)
    if found is None:
        raise ValueError(f"{path} is no path of an element; write it like 2300/CLM-05-1.")
    return found["place"], int(found["element"]), int(found["component"] or 0)


def find_places(document: Document) -> Places:
    """Find the places of every claim and line in the 837 transaction sets of a document."""
    clm, transaction = document.rows_in("837", "CLM")
    sets = document.transactions["first_segment"].to_numpy() - document.number([0])
    set_row = sets[transaction - 1] if len(clm) else np.empty(0, np.int64)
    end = next_of(document.rows("CLM", "HL", *_FENCES), clm, np.full(len(clm), len(document)))
    nm1, ref = qualified(document, "NM1"), qualified(document, "REF")
    claims = _header(document, clm, set_row, nm1, ref) | _claim_level(document, clm, end, nm1, ref)
    lines, owner = _lines(document, clm, end, ref)
    return Places(document, claims, lines, transaction, owner, end)


def _header(document: Document, clm: Rows, set_row: Rows, nm1: Ask, ref: Ask) -> dict[str, Rows]:
    """Find the billing provider's, subscriber's and payer's segments that govern each claim."""
    hl = document.rows("HL")
    level = document.element(hl, 3)
    boundaries = document.rows("HL", "CLM")
    provider_level = _last(hl[(level == "20").fill_null(value=False).to_numpy()], set_row, clm)
    subscriber_level = _last(hl[(level == "22").fill_null(value=False).to_numpy()], set_row, clm)
    nearest = _last(hl, set_row, clm)

    def region(level_row: Rows) -> tuple[Rows, Rows]:
        # A set without HL segments is read by nearness alone.
        start = np.where(nearest < 0, set_row, level_row)
        end_ = np.where(nearest < 0, clm, next_of(boundaries, level_row, clm))
        return start, np.where(start < 0, -1, end_)

    provider, subscriber = region(provider_level), region(subscriber_level)
    nm85 = _last(nm1("85"), *provider)
    nm_il = _last(nm1("IL"), *subscriber)
    nm_pr = _last(nm1("PR"), *subscriber)
    own = document.rows("NM1", "HL", "CLM", "SBR", "PAT", "LX", *_FENCES)
    return {
        "2000A/HL": provider_level,
        "2000A/PRV": _last(qualified(document, "PRV")("BI"), *provider),
        "2010AA/NM1": nm85,
        "2010AA/N3": _child(document.rows("N3"), nm85, own),
        "2010AA/N4": _child(document.rows("N4"), nm85, own),
        "2010AA/REF*EI": _child(ref("EI"), nm85, own),
        "2000B/HL": subscriber_level,
        "2000B/SBR": _last(document.rows("SBR"), *subscriber),
        "2010BA/NM1": nm_il,
        "2010BA/N3": _child(document.rows("N3"), nm_il, own),
        "2010BA/N4": _child(document.rows("N4"), nm_il, own),
        "2010BA/DMG": _child(document.rows("DMG"), nm_il, own),
        "2010BB/NM1": nm_pr,
    }


def _claim_level(document: Document, clm: Rows, end: Rows, nm1: Ask, ref: Ask) -> dict[str, Rows]:
    """Find the claim's own segments, before its lines and other payers."""
    level_end = next_of(document.rows("LX", "SV1", "SBR"), clm, end)
    info_end = next_of(document.rows("NM1"), clm, level_end)
    nm82 = first_between(nm1("82"), clm, level_end)
    nm_dq = first_between(nm1("DQ"), clm, level_end)
    own = document.rows("NM1", "LX", "SV1", "SBR", "CLM", "HL", *_FENCES)
    return {
        "2300/CLM": clm,
        "2300/REF*F8": first_between(ref("F8"), clm, info_end),
        "2300/REF*EA": first_between(ref("EA"), clm, info_end),
        "2300/HI": first_between(document.rows("HI"), clm, level_end),
        "2310B/NM1": nm82,
        "2310B/PRV": _child(qualified(document, "PRV")("PE"), nm82, own),
        "2310D/NM1": nm_dq,
    }


def _lines(document: Document, clm: Rows, end: Rows, ref: Ask) -> tuple[dict[str, Rows], Rows]:
    """Find the segments of each line; a SV1 without an LX of its own is a line too."""
    marks = document.rows("LX", "SV1", "CLM")
    is_lx = np.isin(marks, document.rows("LX"))
    is_sv1 = np.isin(marks, document.rows("SV1"))
    follows_lx = np.concatenate([np.zeros(1, bool), is_lx[:-1]])[: len(marks)]
    starts = marks[is_lx | (is_sv1 & ~follows_lx)]
    owner = np.searchsorted(clm, starts) - 1
    kept = owner >= 0
    kept[kept] = starts[kept] < end[owner[kept]]
    starts, owner = starts[kept], owner[kept]
    has_lx = np.isin(starts, document.rows("LX"))
    stop = next_of(starts, starts, end[owner])
    before = np.where(has_lx, starts, starts - 1)
    places = {
        "2400/LX": np.where(has_lx, starts, -1),
        "2400/SV1": first_between(document.rows("SV1"), before, stop),
        "2400/DTP*472": first_between(qualified(document, "DTP")("472"), starts, stop),
        "2400/REF*6R": first_between(ref("6R"), starts, stop),
    }
    return places, owner


def qualified(document: Document, tag: str) -> Ask:
    """Find the segments of an id by their first element; the element is taken once for all questions."""
    rows = document.rows(tag)
    qualifiers = document.element(rows, 1)

    def ask(qualifier: str) -> Rows:
        chosen: Rows = rows[(qualifiers == qualifier).fill_null(value=False).to_numpy()]
        return chosen

    return ask


def next_of(rows: Rows, after: Rows, limit: Rows) -> Rows:
    """Find the first of `rows` behind each `after`, or the limit when that comes first."""
    padded = np.append(rows, np.iinfo(np.int64).max)
    found: Rows = np.minimum(padded[np.searchsorted(rows, after, side="right")], limit)
    return found


def first_between(rows: Rows, start: Rows, end: Rows) -> Rows:
    """Find the first of `rows` strictly between start and end; -1 for none."""
    found = next_of(rows, start, end)
    return np.where(found < end, found, -1)


def _last(rows: Rows, start: Rows, end: Rows) -> Rows:
    """Find the last of `rows` strictly between start and end; -1 for none."""
    padded = np.append(rows, -1)
    found = padded[np.searchsorted(rows, end, side="left") - 1]
    return np.where((found > start) & (found < end), found, -1)


def _child(rows: Rows, parents: Rows, boundaries: Rows) -> Rows:
    """Find the first of `rows` behind each parent and before the next boundary; -1 for none or no parent."""
    limit = next_of(boundaries, parents, np.full(len(parents), np.iinfo(np.int64).max))
    return np.where(parents < 0, -1, first_between(rows, parents, limit))
