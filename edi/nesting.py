"""Nesting: which interchange, group and transaction set a segment lies in, and whether the trailers agree.

`edi.segments` hands over the envelope segments of a file; `nest` pairs headers with trailers. It reads a
file whose trailers are missing as far as it goes, and says so. What lies inside a transaction set is not
looked at.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from edi.findings import collect, findings, number
from edi.values import as_date

Rows = npt.NDArray[np.int64]

ELEMENTS = 16
# The envelope segments of a file, in file order. `is_implied` marks a transaction set whose ST is missing.
ENVELOPE_SCHEMA: dict[str, pl.DataType] = {
    "segment": pl.Int64(),
    "tag": pl.String(),
    "is_implied": pl.Boolean(),
    **{f"e{position:02}": pl.String() for position in range(1, ELEMENTS + 1)},
}
ENVELOPE_TAGS = ("ISA", "TA1", "GS", "ST", "SE", "GE", "IEA")


@dataclass(frozen=True)
class Before:
    """What the earlier parts of a large file leave to the next one."""

    envelope: pl.DataFrame  # the headers that are still open
    segments: int = 0
    interchanges: int = 0  # those that are over: the open ones are counted with the next part
    groups: int = 0
    transactions: int = 0


@dataclass(frozen=True)
class Nesting:
    """The envelopes of a file; all numbers run from 1 in file order, null where the level is missing."""

    interchanges: pl.DataFrame
    groups: pl.DataFrame
    transactions: pl.DataFrame
    after: Before  # for the next part of a large file


@dataclass(frozen=True)
class _Level:
    """One level of the envelope: where each opens, where its trailer is (0: none) and where it ends."""

    opens: Rows
    trailers: Rows
    ends: Rows

    def holding(self, rows: Rows) -> Rows:
        """Number, from 1, of the envelope each row lies in; 0 for none."""
        number_ = np.searchsorted(self.opens, rows, side="right")
        inside = (number_ > 0) & (rows <= np.append(self.ends, 0)[number_ - 1])
        return np.where(inside, number_, 0).astype(np.int64)


NOTHING_BEFORE = Before(pl.DataFrame(schema=ENVELOPE_SCHEMA))


def nest(envelope: pl.DataFrame, segment_count: int, before: Before = NOTHING_BEFORE) -> Nesting:
    """Pair headers with trailers.

    Args:
        envelope: Frame of ENVELOPE_SCHEMA, sorted by segment.
        segment_count: Segments in the file up to the end of this part.
        before: What the earlier parts left open.
    """
    envelope = pl.concat([before.envelope, envelope])
    isa, gs, st, _ = _levels(envelope, segment_count)
    interchanges = _interchanges(envelope, isa, before)
    groups = _groups(envelope, gs, isa, before)
    transactions = _transactions(envelope, st, before).with_columns(
        interchange=_or_null(isa.holding(st.opens), before.interchanges),
        group=_or_null(gs.holding(st.opens), before.groups),
    )
    return Nesting(
        interchanges,
        groups,
        _with_headers(transactions, groups, interchanges),
        _after(envelope, (isa, gs, st), segment_count, before),
    )


def nesting_findings(envelope: pl.DataFrame, segment_count: int) -> pl.DataFrame:
    """Check the trailers, counts and control numbers of a whole file; its parts' envelopes put together."""
    isa, gs, st, at = _levels(envelope, segment_count)
    found = collect(
        *_trailer_findings(envelope, st, _SE, st.ends - st.opens + 1),
        *_trailer_findings(envelope, gs, _GE, _count(gs, at["ST"])),
        *_trailer_findings(envelope, isa, _IEA, _count(isa, at["GS"])),
        *_header_findings(envelope, isa, gs, st, segment_count),
    )
    return found.with_columns(transaction=_or_null(st.holding(found["segment"].to_numpy()), 0))


def _levels(envelope: pl.DataFrame, segment_count: int) -> tuple[_Level, _Level, _Level, dict[str, Rows]]:
    at = {tag: _rows(envelope, tag) for tag in ENVELOPE_TAGS}
    return (
        _level(at["ISA"], at["IEA"], at["ISA"], segment_count),
        _level(at["GS"], at["GE"], _merge(at, "GS", "ISA", "IEA"), segment_count),
        _level(at["ST"], at["SE"], _merge(at, "ST", "GS", "GE", "ISA", "IEA"), segment_count),
        at,
    )


def _after(
    envelope: pl.DataFrame, levels: tuple[_Level, _Level, _Level], segment_count: int, before: Before
) -> Before:
    """Keep the headers without a trailer that reach to the end."""
    is_open = [(level.trailers == 0) & (level.ends == segment_count) for level in levels]
    headers = np.concatenate([level.opens[open_] for level, open_ in zip(levels, is_open, strict=True)])
    over = [int((~open_).sum()) for open_ in is_open]
    return Before(
        envelope.filter(pl.col("segment").is_in(headers.tolist())),
        segment_count,
        before.interchanges + over[0],
        before.groups + over[1],
        before.transactions + over[2],
    )


def _rows(envelope: pl.DataFrame, tag: str) -> Rows:
    return envelope.filter(tag=tag)["segment"].to_numpy().astype(np.int64)


def _merge(at: dict[str, Rows], *tags: str) -> Rows:
    return np.sort(np.concatenate([at[tag] for tag in tags]))


def _level(opens: Rows, closes: Rows, limits: Rows, segment_count: int) -> _Level:
    """Give each header the first trailer behind it, unless another boundary comes first."""
    beyond = np.int64(segment_count + 1)
    limit = np.append(limits, beyond)[np.searchsorted(limits, opens, side="right")]
    close = np.append(closes, beyond)[np.searchsorted(closes, opens, side="right")]
    # A trailer may itself be a boundary (IEA ends a group), never of its own level.
    return _Level(opens, np.where(close < limit, close, 0), np.where(close < limit, close, limit - 1))


def _count(level: _Level, rows: Rows) -> Rows:
    return np.bincount(level.holding(rows), minlength=len(level.opens) + 1)[1:].astype(np.int64)


def _interchanges(envelope: pl.DataFrame, isa: _Level, before: Before) -> pl.DataFrame:
    stripped = {
        "sender_qualifier": "e05",
        "sender_id": "e06",
        "receiver_qualifier": "e07",
        "receiver_id": "e08",
        "version": "e12",
        "interchange_control_number": "e13",
        "usage": "e15",
    }
    return envelope.filter(tag="ISA").select(
        interchange=pl.int_range(1, pl.len() + 1, dtype=pl.Int64) + before.interchanges,
        **{name: pl.col(element).str.strip_chars() for name, element in stripped.items()},
        interchange_date=as_date(pl.col("e09")),
        interchange_time=pl.col("e10"),
        first_segment=pl.lit(pl.Series(isa.opens)),
        last_segment=pl.lit(pl.Series(isa.ends)),
    )


def _groups(envelope: pl.DataFrame, gs: _Level, isa: _Level, before: Before) -> pl.DataFrame:
    return envelope.filter(tag="GS").select(
        group=pl.int_range(1, pl.len() + 1, dtype=pl.Int64) + before.groups,
        interchange=_or_null(isa.holding(gs.opens), before.interchanges),
        functional_code=pl.col("e01"),
        group_sender_id=pl.col("e02"),
        group_receiver_id=pl.col("e03"),
        group_date=as_date(pl.col("e04")),
        group_time=pl.col("e05"),
        group_control_number=pl.col("e06"),
        group_version=pl.col("e08"),
        first_segment=pl.lit(pl.Series(gs.opens)),
        last_segment=pl.lit(pl.Series(gs.ends)),
    )


def _transactions(envelope: pl.DataFrame, st: _Level, before: Before) -> pl.DataFrame:
    return envelope.filter(tag="ST").select(
        transaction=pl.int_range(1, pl.len() + 1, dtype=pl.Int64) + before.transactions,
        type=pl.col("e01"),
        st03=pl.col("e03"),
        control_number=pl.col("e02"),
        first_segment=pl.lit(pl.Series(st.opens)),
        last_segment=pl.lit(pl.Series(st.ends)),
        is_implied=pl.col("is_implied"),
    )


def _with_headers(
    transactions: pl.DataFrame, groups: pl.DataFrame, interchanges: pl.DataFrame
) -> pl.DataFrame:
    """Put what GS and ISA say beside each transaction set; the columns people look for come first."""
    bounds = ["first_segment", "last_segment"]
    wide = transactions.join(
        groups.drop("interchange", *bounds), on="group", how="left", maintain_order="left"
    ).join(interchanges.drop(bounds), on="interchange", how="left", maintain_order="left")
    numbers = ["interchange_control_number", "group_control_number", "control_number"]
    implementation = pl.coalesce("st03", "group_version").alias("implementation")
    leading = ["transaction", "type", *numbers, *bounds]
    return wide.select("transaction", "type", implementation, *numbers, *bounds, pl.exclude(*leading, "st03"))


def _or_null(numbers: Rows, before: int) -> pl.Expr:
    """Turn numbers within this part into numbers within the file, and 0 into null."""
    series = pl.Series(numbers, dtype=pl.Int64)
    return pl.lit((series + before).set(series == 0, None))


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
    envelope: pl.DataFrame, level: _Level, trailer: _Trailer, counted: Rows
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
    envelope: pl.DataFrame, isa: _Level, gs: _Level, st: _Level, segment_count: int
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
