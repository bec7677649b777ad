"""Nesting: which interchange, group and transaction set a segment lies in, and whether the trailers agree.

`edi.segments` hands over the envelope segments of a file; `nest` pairs headers with trailers. It reads a
file whose trailers are missing as far as it goes, and says so. What lies inside a transaction set is not
looked at.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

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
    tables: tuple[
        pl.DataFrame, ...
    ] = ()  # the rows of what is still open: interchanges, groups, transactions


@dataclass(frozen=True)
class Nesting:
    """The envelopes of a file; all numbers run from 1 in file order, null where the level is missing."""

    interchanges: pl.DataFrame
    groups: pl.DataFrame
    transactions: pl.DataFrame
    after: Before  # for the next part of a large file


@dataclass(frozen=True)
class Level:
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
    if envelope.is_empty() and before.tables:
        # A part from the middle: what was open goes on.
        interchanges, groups, transactions = (_until(table, segment_count) for table in before.tables)
        return Nesting(interchanges, groups, transactions, replace(before, segments=segment_count))
    envelope = pl.concat([before.envelope, envelope])
    isa, gs, st, _ = levels(envelope, segment_count)
    interchanges = _interchanges(envelope, isa, before)
    groups = _groups(envelope, gs, isa, before)
    transactions = _transactions(envelope, st, before).with_columns(
        interchange=or_null(isa.holding(st.opens), before.interchanges),
        group=or_null(gs.holding(st.opens), before.groups),
    )
    transactions = _with_headers(transactions, groups, interchanges)
    after = _after(envelope, (isa, gs, st), (interchanges, groups, transactions), segment_count, before)
    return Nesting(interchanges, groups, transactions, after)


def _until(table: pl.DataFrame, segment: int) -> pl.DataFrame:
    """Let what is open last until a segment."""
    last = pl.Series("last_segment", [segment] * len(table), pl.Int64)
    return table.clone().replace_column(table.columns.index(last.name), last)


def levels(envelope: pl.DataFrame, segment_count: int) -> tuple[Level, Level, Level, dict[str, Rows]]:
    at = {tag: _rows(envelope, tag) for tag in ENVELOPE_TAGS}
    return (
        _level(at["ISA"], at["IEA"], at["ISA"], segment_count),
        _level(at["GS"], at["GE"], _merge(at, "GS", "ISA", "IEA"), segment_count),
        _level(at["ST"], at["SE"], _merge(at, "ST", "GS", "GE", "ISA", "IEA"), segment_count),
        at,
    )


def _after(
    envelope: pl.DataFrame,
    levels: tuple[Level, Level, Level],
    tables: tuple[pl.DataFrame, ...],
    segment_count: int,
    before: Before,
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
        tuple(table.filter(pl.Series(open_)) for table, open_ in zip(tables, is_open, strict=True)),
    )


def _rows(envelope: pl.DataFrame, tag: str) -> Rows:
    return envelope.filter(tag=tag)["segment"].to_numpy().astype(np.int64)


def _merge(at: dict[str, Rows], *tags: str) -> Rows:
    return np.sort(np.concatenate([at[tag] for tag in tags]))


def _level(opens: Rows, closes: Rows, limits: Rows, segment_count: int) -> Level:
    """Give each header the first trailer behind it, unless another boundary comes first."""
    beyond = np.int64(segment_count + 1)
    limit = np.append(limits, beyond)[np.searchsorted(limits, opens, side="right")]
    close = np.append(closes, beyond)[np.searchsorted(closes, opens, side="right")]
    # A trailer may itself be a boundary (IEA ends a group), never of its own level.
    return Level(opens, np.where(close < limit, close, 0), np.where(close < limit, close, limit - 1))


def _interchanges(envelope: pl.DataFrame, isa: Level, before: Before) -> pl.DataFrame:
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


def _groups(envelope: pl.DataFrame, gs: Level, isa: Level, before: Before) -> pl.DataFrame:
    return envelope.filter(tag="GS").select(
        group=pl.int_range(1, pl.len() + 1, dtype=pl.Int64) + before.groups,
        interchange=or_null(isa.holding(gs.opens), before.interchanges),
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


def _transactions(envelope: pl.DataFrame, st: Level, before: Before) -> pl.DataFrame:
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


def or_null(numbers: Rows, before: int) -> pl.Expr:
    """Turn numbers within this part into numbers within the file, and 0 into null."""
    series = pl.Series(numbers, dtype=pl.Int64)
    return pl.lit((series + before).set(series == 0, None))
