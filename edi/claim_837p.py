"""The 837P: claims and lines as frames, to bytes.

`tasks.translate` and the sandbox hand over frames with the columns of `CLAIM_COLUMNS` and `LINE_COLUMNS`;
`write_claims` turns them into one interchange. `edi.claim_text` has the segments, `edi.envelope` what
surrounds them; `edi.claim_reader` reads the same frames back and `edi.edits` judges them. No rule of billing
belongs here.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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

# What one thread writes at a time: enough to be worth a thread, few enough to stay small in memory.
_CLAIMS_AT_A_TIME: Final = 25_000
_WRITERS: Final = 2
_PROVIDER: Final = [name for name in CLAIM_COLUMNS if name.startswith("billing_")]


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
    order = _claim_order(as_written(claims.select("claim_number", "billing_npi")))
    owners = _owners(as_written(claims.select("claim_number")), as_written(lines.select("claim_number")))
    place: Rows = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    line_order = np.lexsort((lines["line_number"].fill_null(0).to_numpy(), place[owners]))
    claim_of_line = place[owners][line_order]

    most = interchange.max_claims_per_transaction
    size = most * max(1, _CLAIMS_AT_A_TIME // most)

    def write(start: int) -> list[bytes | memoryview]:
        first, last = np.searchsorted(claim_of_line, (start, start + size)).tolist()
        return _transaction_sets(
            _as_written(claims[order[start : start + size]], CLAIM_COLUMNS),
            _as_written(lines[line_order[first:last]], LINE_COLUMNS),
            claim_of_line[first:last] - start,
            interchange,
            start // most + 1,
        )

    with ThreadPoolExecutor(_WRITERS) as pool:
        sets = [piece for pieces in pool.map(write, range(0, len(order), size)) for piece in pieces]
    header = interchange_header(interchange)
    trailer = interchange_trailer(interchange, -(-len(order) // most))
    data = b"".join([header.encode(), *sets, trailer.encode()])
    return data.replace(SEGMENT.encode(), SEGMENT.encode() + b"\n") if interchange.line_break else data


def _as_written(frame: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return as_written(frame.select(pl.col(name).cast(kind) for name, kind in columns.items()))


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
    """Find the row of each line's claim; neighbouring lines of one claim are looked up once."""
    number = pl.col("claim_number")
    runs = lines.with_columns(is_new=number.ne_missing(number.shift(1)) | (pl.int_range(pl.len()) == 0))
    looked_up = runs.filter("is_new").join(
        claims.with_row_index("row"), on="claim_number", how="left", maintain_order="left"
    )
    owners = looked_up["row"].gather(runs["is_new"].cum_sum().cast(pl.Int64) - 1)
    if owners.null_count():
        raise ValueError(f"{owners.null_count()} lines belong to no claim of this interchange.")
    return owners.to_numpy().astype(np.int64)


def _transaction_sets(
    claims: pl.DataFrame, lines: pl.DataFrame, claim_of_line: Rows, interchange: Interchange, first: int
) -> list[bytes | memoryview]:
    """Write whole transaction sets of claims and lines in file order, numbered from `first`.

    The place of a text is the number of providers, claims and lines before it, so no text is ever sorted.
    """
    levels = _levels(claims.select(_PROVIDER), interchange.max_claims_per_transaction)
    claims = pl.concat([claims, levels], how="horizontal")
    line_count = np.bincount(claim_of_line, minlength=claims.height)
    lines_before = np.cumsum(line_count) - line_count
    counter = np.arange(lines.height) - lines_before[claim_of_line] + 1
    providers = claims.filter("is_start")
    written = pl.collect_all(
        [provider_text(providers), claim_text(claims), line_text(lines.with_columns(counter=counter))]
    )
    started = levels["started"].to_numpy()
    at_claim = np.arange(claims.height) + started + lines_before
    taken: Rows = np.empty(sum(map(len, written)), np.int64)
    taken[at_claim[levels["is_start"].to_numpy()] - 1] = np.arange(providers.height)
    taken[at_claim] = np.arange(claims.height) + providers.height
    at_line = np.arange(lines.height) + claim_of_line + 1 + started[claim_of_line]
    taken[at_line] = np.arange(lines.height) + providers.height + claims.height
    texts = pl.concat(written, rechunk=True)["text"].gather(taken)
    ends = (at_claim + line_count + 1)[levels["is_set_end"].to_numpy()]
    return _with_envelopes(texts, ends, interchange, first)


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


def _levels(providers: pl.DataFrame, most: int) -> pl.DataFrame:
    """Number the HL levels and transaction sets of the claims, given each one's provider in file order.

    HL01 counts both levels through a set: a provider's comes right before its first claim's.
    """
    row = pl.int_range(pl.len())
    is_set_start = row % most == 0
    is_other = pl.any_horizontal(pl.all().ne_missing(pl.all().shift(1)))
    return (
        providers.select(is_start=is_set_start | is_other, row=row, is_set_start=is_set_start)
        .with_columns(started=pl.col("is_start").cast(pl.Int64).cum_sum())
        .select(
            "is_start",
            "started",
            is_set_end=((pl.col("row") + 1) % most == 0) | (pl.col("row") == pl.len() - 1),
            level=pl.col("row") % most
            + 2
            + pl.col("started")
            - pl.when("is_set_start").then("started").forward_fill(),
        )
        .with_columns(parent=pl.when("is_start").then(pl.col("level") - 1).forward_fill())
    )
