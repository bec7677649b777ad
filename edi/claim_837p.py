"""The 837P: claims and lines as frames, to bytes.

`tasks.translate` and the sandbox hand over frames with the columns of `CLAIM_COLUMNS` and `LINE_COLUMNS`;
`write_claims` turns them into one interchange. `edi.claim_text` has the segments, `edi.envelope` what
surrounds them; `edi.claim_reader` reads the same frames back and `edi.edits` judges them. No rule of billing
belongs here.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
import polars as pl

from edi.claim_columns import CLAIM_COLUMNS, LINE_COLUMNS, as_written
from edi.claim_places import Rows
from edi.claim_reader import ClaimFrames, read_claims
from edi.claim_text import claim_text, line_text, provider_text
from edi.envelope import (
    SEGMENT,
    Interchange,
    fold,
    interchange_header,
    interchange_trailer,
    transaction_header,
    transaction_trailer,
)

__all__ = [
    "CLAIM_COLUMNS",
    "LINE_COLUMNS",
    "ClaimFrames",
    "Interchange",
    "as_written",
    "fold",
    "read_claims",
    "write_claims",
]

# What one thread writes at a time: enough to be worth a thread, few enough to stay near the processor.
_CLAIMS_AT_A_TIME: Final = 25_000
_LINES_AT_A_TIME: Final = 75_000
_WRITERS: Final = 2
_PROVIDER: Final = [name for name in CLAIM_COLUMNS if name.startswith("billing_")]


@dataclass(frozen=True)
class _Order:
    """The order of a file: the rows of the frames in file order, and whose the lines are."""

    claims: Rows
    lines: Rows
    line_count: Rows  # of each claim in file order
    claim_of_line: Rows  # counted from 0, of each line in file order
    counter: Rows  # LX01 of each line in file order


def write_claims(claims: pl.DataFrame, lines: pl.DataFrame, interchange: Interchange) -> bytes:
    """Write claims and their lines as one interchange.

    Claims are ordered by billing NPI and claim number, lines by line number; LX counts from 1. Every text
    is folded and cut to its element's length. A transaction set holds at most
    `max_claims_per_transaction` claims, and a provider's loop is repeated at the head of the next set.

    Raises:
        ValueError: If there is no claim, a claim number occurs twice, or a line has no claim.
    """
    if claims.is_empty():
        raise ValueError("An interchange needs at least one claim; write no file for an empty month.")
    most = interchange.max_claims_per_transaction
    out = BytesIO()
    out.write(interchange_header(interchange).encode())
    with ThreadPoolExecutor(_WRITERS) as pool:
        claims, lines = as_written(_typed(claims, CLAIM_COLUMNS)), _typed(lines, LINE_COLUMNS)
        order = _order(claims, lines)
        levels = _levels(claims.select(_PROVIDER)[order.claims], order.line_count, most)
        texts = _texts(claims, lines, order, levels, pool)
        for piece in _transaction_sets(texts, levels, interchange, pool):
            out.write(piece)
    out.write(interchange_trailer(interchange, -(-claims.height // most)).encode())
    data = out.getvalue()
    return data.replace(SEGMENT.encode(), SEGMENT.encode() + b"\n") if interchange.line_break else data


def _typed(frame: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in columns.items())


def _order(claims: pl.DataFrame, lines: pl.DataFrame) -> _Order:
    """Order claims by provider and number, and each one's lines by line number."""
    order = _claim_order(claims)
    owners = _owners(claims.select("claim_number"), as_written(lines.select("claim_number")))
    place: Rows = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    line_order = np.lexsort((lines["line_number"].fill_null(0).to_numpy(), place[owners]))
    claim_of_line = place[owners][line_order]
    line_count = np.bincount(claim_of_line, minlength=len(order))
    before = np.cumsum(line_count) - line_count
    counter = np.arange(len(line_order)) - before[claim_of_line] + 1
    return _Order(order, line_order, line_count, claim_of_line, counter)


def _claim_order(claims: pl.DataFrame) -> Rows:
    """Order the claims by billing NPI and claim number."""
    numbers = claims["claim_number"]
    by_number = numbers.arg_sort().to_numpy()
    ordered = numbers.gather(by_number)
    if (ordered == ordered.shift(1)).any():
        raise ValueError("A claim number occurs twice (after folding); one interchange carries a claim once.")
    providers = claims["billing_npi"].fill_null("")
    rank = providers.cast(pl.Enum(providers.unique().sort())).to_physical().to_numpy()[by_number]
    return by_number[np.argsort(rank, kind="stable")].astype(np.int64)


def _owners(claims: pl.DataFrame, lines: pl.DataFrame) -> Rows:
    """Find the row of each line's claim; neighbouring lines of one claim are looked up once.

    Frames made together have their claims in one order; then nothing is looked up.
    """
    number = pl.col("claim_number")
    runs = lines.with_columns(is_new=number.ne_missing(number.shift(1)) | (pl.int_range(pl.len()) == 0))
    firsts = runs.filter("is_new").select("claim_number")
    if firsts["claim_number"].equals(claims["claim_number"], null_equal=False):
        row = pl.Series(np.arange(claims.height))
    else:
        row = firsts.join(claims.with_row_index("row"), on="claim_number", how="left", maintain_order="left")[
            "row"
        ]
    owners = row.gather(runs["is_new"].cum_sum().cast(pl.Int64) - 1)
    if owners.null_count():
        raise ValueError(f"{owners.null_count()} lines belong to no claim of this interchange.")
    return owners.to_numpy().astype(np.int64)


def _texts(
    claims: pl.DataFrame, lines: pl.DataFrame, order: _Order, levels: pl.DataFrame, pool: ThreadPoolExecutor
) -> pl.Series:
    """Write what each provider, claim and line says, and put these texts, not the rows, in file order.

    The place of a text is the number of providers, claims and lines before it, so no text is ever sorted.
    """
    is_start = levels["is_start"].to_numpy()
    providers = claims[order.claims[is_start]].with_columns(levels.filter("is_start")["parent"])
    claims = claims.with_columns(
        _numbers(_as_given(levels[name].to_numpy(), order.claims)).alias(name) for name in ("level", "parent")
    )
    lines = lines.with_columns(counter=_as_given(order.counter, order.lines))
    claim_texts = pool.map(claim_text, claims.iter_slices(_CLAIMS_AT_A_TIME))
    line_texts = pool.map(line_text, lines.iter_slices(_LINES_AT_A_TIME))
    written = pl.concat([provider_text(providers), *claim_texts, *line_texts], rechunk=True)

    at_claim = levels["place"].to_numpy()
    taken: Rows = np.empty(len(written), np.int64)
    taken[at_claim[is_start] - 1] = np.arange(providers.height)
    taken[at_claim] = order.claims + providers.height
    taken[at_claim[order.claim_of_line] + order.counter] = order.lines + providers.height + claims.height
    return written.gather(taken)


def _as_given(values: Rows, order: Rows) -> Rows:
    """Put values that stand in file order back to the rows they belong to."""
    given: Rows = np.empty_like(values)
    given[order] = values
    return given


def _numbers(values: Rows) -> pl.Series:
    """Write small whole numbers, each only once."""
    return pl.Series(np.arange(values.max() + 1)).cast(pl.String).gather(values)


def _transaction_sets(
    texts: pl.Series, levels: pl.DataFrame, interchange: Interchange, pool: ThreadPoolExecutor
) -> Iterator[bytes | memoryview]:
    """Cut the texts into transaction sets, in envelopes, a few sets at a time."""
    ends = levels.filter("is_set_end")["end"].to_numpy()
    sets = max(1, _CLAIMS_AT_A_TIME // interchange.max_claims_per_transaction)

    def write(first: int) -> list[bytes | memoryview]:
        start = ends[first - 1] if first else 0
        some = ends[first : first + sets]
        return _with_envelopes(texts[start : some[-1]], some - start, interchange, first + 1)

    for pieces in pool.map(write, range(0, len(ends), sets)):
        yield from pieces


def _with_envelopes(
    texts: pl.Series, ends: Rows, interchange: Interchange, first: int
) -> list[bytes | memoryview]:
    """Put ST and SE around the texts up to each of `ends`, the segments between them counted.

    Returns:
        Three pieces for each set; what lies between ST and SE is not copied here.
    """
    _, offsets, data = texts.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
    body = np.frombuffer(data, np.uint8)
    sets: list[bytes | memoryview] = []
    start = 0
    for number, end in enumerate(np.frombuffer(offsets, np.int64)[ends].tolist(), start=first):
        header = transaction_header(interchange, number)
        segments = header.count(SEGMENT) + np.count_nonzero(body[start:end] == ord(SEGMENT))
        trailer = transaction_trailer(int(segments), number)
        sets += [header.encode(), body[start:end].data, trailer.encode()]
        start = end
    return sets


def _levels(providers: pl.DataFrame, line_count: Rows, most: int) -> pl.DataFrame:
    """Number the HL levels, transaction sets and texts of the claims, given in file order.

    HL01 counts both levels through a set: a provider's comes right before its first claim's. `place` is the
    place of a claim's text among all texts, `end` that behind its last line's.
    """
    row = pl.int_range(pl.len())
    is_set_start = row % most == 0
    is_other = pl.any_horizontal(pl.all().ne_missing(pl.all().shift(1)))
    return (
        providers.select(is_start=is_set_start | is_other, row=row, is_set_start=is_set_start)
        .with_columns(
            started=pl.col("is_start").cast(pl.Int64).cum_sum(),
            texts=pl.Series(line_count + 1).cum_sum(),
            line_count=line_count,
        )
        .select(
            "is_start",
            is_set_end=((pl.col("row") + 1) % most == 0) | (pl.col("row") == pl.len() - 1),
            level=pl.col("row") % most
            + 2
            + pl.col("started")
            - pl.when("is_set_start").then("started").forward_fill(),
            end=pl.col("texts") + pl.col("started"),
            place=pl.col("texts") + pl.col("started") - pl.col("line_count") - 1,
        )
        .with_columns(parent=pl.when("is_start").then(pl.col("level") - 1).forward_fill())
    )
