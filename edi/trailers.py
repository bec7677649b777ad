"""Trailers: whether the envelopes of a file close as they opened, with the right counts and control numbers.

`edi.segments` and, for a file in parts, `edi.remittance` call it with the envelope segments of a whole file.
What is missing was read as far as it goes by `edi.nesting`; here it is said.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from edi.findings import collect, findings, number
from edi.nesting import Level, Rows, levels, or_null


def nesting_findings(envelope: pl.DataFrame, segment_count: int) -> pl.DataFrame:
    """Check the trailers, counts and control numbers of a whole file; its parts' envelopes put together."""
    isa, gs, st, at = levels(envelope, segment_count)
    found = collect(
        *_trailer_findings(envelope, st, _SE, st.ends - st.opens + 1),
        *_trailer_findings(envelope, gs, _GE, _count(gs, at["ST"])),
        *_trailer_findings(envelope, isa, _IEA, _count(isa, at["GS"])),
        *_header_findings(envelope, isa, gs, st, segment_count),
    )
    return found.with_columns(transaction=or_null(st.holding(found["segment"].to_numpy()), 0))


def _count(level: Level, rows: Rows) -> Rows:
    return np.bincount(level.holding(rows), minlength=len(level.opens) + 1)[1:].astype(np.int64)


@dataclass(frozen=True)
class _Trailer:
    tag: str
    header: str
    control: str  # where the header has the number that the trailer repeats
    counts: str


_SE = _Trailer("SE", "ST", "e02", "segments")
_GE = _Trailer("GE", "GS", "e06", "transaction sets")
_IEA = _Trailer("IEA", "ISA", "e13", "groups")


def _trailer_findings(
    envelope: pl.DataFrame, level: Level, trailer: _Trailer, counted: Rows
) -> list[pl.DataFrame]:
    """Compare each trailer with what it closes, and name those that are missing or close nothing."""
    tag, header, rule = trailer.tag, trailer.header, trailer.tag.lower()
    opened = envelope.filter(tag=header).select("is_implied", opened=pl.col(trailer.control))
    closed = envelope.filter(tag=tag).select("segment", declared=pl.col("e01"), closing=pl.col("e02"))
    pairs = (
        opened.with_columns(
            segment=pl.Series(level.trailers), last=pl.Series(level.ends), counted=pl.Series(counted)
        )
        .filter(~pl.col("is_implied"))
        .join(closed, on="segment", how="left", maintain_order="left")
    )
    pairs_found = pairs.filter(pl.col("segment") > 0)
    # Without any ISA the file is a fragment; that is said once, not again by each loose trailer.
    has_isa = not envelope.filter(tag="ISA").is_empty()
    return [
        findings(
            pairs.filter(segment=0).with_columns(segment="last"),
            f"missing_{rule}",
            f"The {header} has no {tag}: read as far as it goes. Ask the sender for the whole file.",
            element=tag,
            expected=tag,
        ),
        findings(
            closed.filter(~pl.col("segment").is_in(level.trailers.tolist()) & pl.lit(has_isa)),
            f"unexpected_{rule}",
            f"This {tag} closes nothing: no {header} is open.",
            element=tag,
        ),
        findings(
            pairs_found.filter(pl.col("declared").cast(pl.Int64, strict=False).ne_missing(pl.col("counted"))),
            f"{rule}01_count",
            pl.format(f"{tag}01 does not agree with the {{}} {trailer.counts} found.", "counted"),
            element=f"{tag}01",
            found=number("declared"),
            expected=pl.col("counted").cast(pl.String),
        ),
        findings(
            pairs_found.filter(
                pl.col("closing").str.strip_chars().ne_missing(pl.col("opened").str.strip_chars())
            ),
            f"{rule}02_control_number",
            f"{tag}02 is not the control number of the {header} it closes.",
            element=f"{tag}02",
            found=number("closing"),
            expected=number("opened"),
        ),
    ]


def _header_findings(
    envelope: pl.DataFrame, isa: Level, gs: Level, st: Level, segment_count: int
) -> list[pl.DataFrame]:
    """Name transaction sets that lack a header around them or repeat a number, and segments in none."""
    sets = envelope.filter(tag="ST").select(
        "segment",
        "is_implied",
        control_number=pl.col("e02"),
        interchange=pl.lit(pl.Series(isa.holding(st.opens), dtype=pl.Int64)),
        group=pl.lit(pl.Series(gs.holding(st.opens), dtype=pl.Int64)),
    )
    edges = np.append(envelope["segment"].to_numpy().astype(np.int64), segment_count + 1)
    before = np.append(np.int64(0), edges[:-1])
    gaps = (edges - before > 1) & (st.holding(before + 1) == 0)
    return [
        findings(
            sets.filter("is_implied"),
            "missing_st",
            "The segments from here on stand in no transaction set (ST is missing); they are read as one.",
            element="ST",
            expected="ST",
        ),
        findings(
            sets.filter((pl.col("interchange") > 0) & (pl.col("group") == 0)),
            "missing_gs",
            "The transaction set stands outside any functional group (GS is missing).",
            element="GS",
            expected="GS",
        ),
        findings(
            sets.filter(
                pl.col("control_number").is_not_null()
                & (pl.int_range(pl.len()).over("interchange", "group", "control_number") > 0)
            ),
            "duplicate_st02",
            "Another transaction set of the same group has this control number.",
            element="ST02",
            found=number("control_number"),
        ),
        findings(
            pl.DataFrame({"segment": before[gaps] + 1, "count": (edges - before)[gaps] - 1}),
            "segment_outside_transaction",
            pl.format("{} segment(s) from here on stand in no transaction set and are not read.", "count"),
        ),
    ]
