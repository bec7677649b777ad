"""Shapes: one claim of each kind of an 837P, packed into a small file that a slow judge can read.

Two claims have one shape when they have the same segments with the same qualifiers and the same elements
present, whatever stands in them. `edi.check` packs a large file with it. What a judge says about the packed
file is put back to the places of the large one. Nothing is judged here.
"""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from edi.claim_places import Places, Rows, next_of
from edi.delimiters import Delimiters, find_spans
from edi.elements import latest
from edi.segments import Document

_COMPOSITES: Final = ("CLM", "HI", "SV1", "SVD")
_WITHOUT_QUALIFIER: Final = ("HL", "LX", "N3", "N4", "CLM", "SV1", "SVD", "CAS", "PER", "HI", "K3", "MEA")
_TRAILERS: Final = ("SE", "GE", "IEA", "ST", "GS", "ISA")


@dataclass(frozen=True)
class Sample:
    """The packed file, and for each of its segments the number it has in the large file (0: none)."""

    data: bytes
    segments: NDArray[np.int64]
    claims_of_shape: NDArray[np.int64]  # for each segment of the packed file, how many claims have its shape

    def put_back(self, found: pl.DataFrame) -> pl.DataFrame:
        """Give findings about the packed file the segment numbers of the large one."""
        at = found["segment"].fill_null(0).to_numpy()
        return (
            found.with_columns(
                segment=pl.Series(np.append(self.segments, 0)[at - 1]).set(pl.Series(at == 0), None),
                claims=pl.Series(np.append(self.claims_of_shape, 0)[at - 1]),
            )
            .with_columns(
                segment=pl.when(pl.col("segment") > 0).then("segment"),
                message=pl.when(pl.col("claims") > 1)
                .then(pl.format("{} {} claims have this shape.", "message", "claims"))
                .otherwise("message"),
                transaction=pl.lit(None, pl.Int64),
            )
            .drop("claims")
        )


def sample_shapes(places: Places) -> Sample | None:
    """Pack the first claim of every shape, each below its billing provider.

    Returns:
        None when the file cannot be packed (several interchanges, claims without levels).
    """
    document = places.document
    source = document.source(0, len(document) - 1)
    spans = find_spans(source)
    if len(spans) != 1 or (places.claims["2000A/HL"] < 0).any() or (places.claims["2000B/HL"] < 0).any():
        return None
    marks = spans[0].delimiters
    ends = np.flatnonzero(np.frombuffer(source, np.uint8) == marks.segment[0]) + 1
    if len(ends) != len(document):
        return None
    shapes = _shapes(places)
    starts = np.append(0, ends)
    level = int(document.rows("HL")[0])
    texts, origins, counts = [source[: starts[level]]], [np.arange(level)], [np.zeros(level, np.int64)]
    number = 0
    # A file has a few dozen shapes, however many claims.
    for provider, provider_end, start, end, count in shapes.rows():
        above = source[starts[provider] : starts[provider_end]]
        below = source[starts[start] : starts[end]]
        top = number + 1
        for text, parent in ((above, ""), (below, str(top))):
            renumbered, levels = _renumber(text, marks, number, parent)
            texts.append(renumbered)
            number += levels
        origins += [np.arange(provider, provider_end), np.arange(start, end)]
        counts.append(np.full(provider_end - provider + end - start, count, np.int64))
    rows = np.concatenate(origins)
    return Sample(
        b"".join(texts) + _trailers(document, marks, len(rows)),
        np.asarray(document.number(rows), np.int64),
        np.concatenate(counts),
    )


def _shapes(places: Places) -> pl.DataFrame:
    """Find the first subscriber level of each shape: its provider's rows, its own, and how many have it."""
    document = places.document
    signatures = _signatures(document)
    hl = document.rows("HL")
    code = document.element(hl, 3)
    providers, subscribers = (hl[(code == level).fill_null(value=False).to_numpy()] for level in ("20", "22"))
    fences = document.rows(*_TRAILERS)
    limit = np.full(len(subscribers), len(document))
    start = subscribers
    end = next_of(np.sort(np.concatenate([providers, subscribers, fences])), start, limit)
    provider_end = next_of(hl, providers, np.full(len(providers), len(document)))
    owner = latest(providers, start)
    key = _hash(signatures, start, end) * np.uint64(31) + _hash(signatures, providers, provider_end)[owner]
    units = pl.DataFrame(
        {
            "key": key,
            "provider": providers[owner],
            "provider_end": provider_end[owner],
            "start": start,
            "end": end,
        }
    )
    firsts = units.group_by("key", maintain_order=True).agg(pl.all().first(), count=pl.len())
    return firsts.drop("key")


def _signatures(document: Document) -> NDArray[np.uint64]:
    """Give each segment a number that says its id, its qualifier and which of its elements are present."""
    signatures = np.zeros(len(document), np.uint64)
    widths = document.segments.group_by("tag").agg(pl.col("element_count").max()).drop_nulls()
    component = find_spans(document.source(0, 0))[0].delimiters.component.decode()
    for tag, width in widths.rows():
        rows = document.rows(tag)
        columns = {"tag": pl.repeat(tag, len(rows), eager=True)}
        for position in range(1, width + 1):
            element = document.element(rows, position)
            columns[f"is_present_{position}"] = element.is_not_null()
            if tag in _COMPOSITES:
                columns[f"components_{position}"] = element.str.count_matches(component, literal=True)
            if position == 1 and tag not in _WITHOUT_QUALIFIER:
                columns["qualifier"] = element
        signatures[rows] = pl.DataFrame(columns).hash_rows().to_numpy()
    return signatures


def _hash(signatures: NDArray[np.uint64], start: Rows, end: Rows) -> NDArray[np.uint64]:
    """Hash the signatures of each stretch of rows, their order included; the sums may wrap."""
    place = np.arange(len(signatures)) - np.append(0, start)[latest(start, np.arange(len(signatures))) + 1]
    mixed = signatures * (2 * place.astype(np.uint64) + np.uint64(1))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    hashes: NDArray[np.uint64] = sums[end] - sums[start]
    return hashes


def _renumber(text: bytes, marks: Delimiters, before: int, parent: str) -> tuple[bytes, int]:
    """Number the HL segments of a stretch on from `before`; levels below its first one hang on that one."""
    element = re.escape(marks.element)
    pattern = rb"(^|" + re.escape(marks.segment) + rb"|[\r\n])HL" + element + rb"[^" + element + rb"]*"
    head, *rest = re.split(pattern + element + rb"[^" + element + rb"]*", text)
    pieces = [head]
    for index, (opening, body) in enumerate(zip(rest[::2], rest[1::2], strict=True)):
        above = parent if index == 0 else str(before + 1)
        pieces += [
            opening,
            marks.element.join([b"HL", str(before + 1 + index).encode(), above.encode()]),
            body,
        ]
    return b"".join(pieces), len(rest) // 2


def _trailers(document: Document, marks: Delimiters, segments: int) -> bytes:
    """Write SE, GE and IEA of a file with one transaction set of `segments` segments, ISA and GS counted."""
    first = document.transactions.row(0, named=True)
    trailers = (
        ("SE", str(segments - 2 + 1), first["control_number"]),
        ("GE", "1", first["group_control_number"]),
        ("IEA", "1", first["interchange_control_number"]),
    )
    return b"".join(marks.element.join(part.encode() for part in parts) + marks.segment for parts in trailers)
