"""The 837P: claims and lines as frames, to bytes.

`tasks.translate` and the sandbox hand over frames with the columns of `CLAIM_COLUMNS` and `LINE_COLUMNS`;
`write_claims` turns them into one interchange. `edi.claim_order` says what comes where, `edi.claim_text` has
the segments, `edi.envelope` what surrounds them; `edi.claim_reader` reads the same frames back and
`edi.edits` judges them. No rule of billing belongs here.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Final

import numpy as np
import polars as pl

from edi.claim_columns import CLAIM_COLUMNS, LINE_COLUMNS, as_written
from edi.claim_order import Order, file_order, find_levels
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

# What one thread writes at a time: enough to be worth a thread, little enough to be held twice.
_CLAIMS_AT_A_TIME: Final = 50_000
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
    claims, lines = _typed(claims, CLAIM_COLUMNS), _typed(lines, LINE_COLUMNS)
    order = file_order(claims, lines)
    lines = lines.drop("claim_number", "line_number")  # what they say is in the order
    most = interchange.max_claims_per_transaction
    step = most * max(1, _CLAIMS_AT_A_TIME // most)

    def write(start: int) -> list[bytes | memoryview]:
        rows = order.claims[start : start + step]
        return _transaction_sets(claims[rows], lines, order, rows, interchange, start // most + 1)

    out = BytesIO()
    out.write(interchange_header(interchange).encode())
    with ThreadPoolExecutor(_WRITERS) as pool:
        for pieces in pool.map(write, range(0, claims.height, step)):
            out.writelines(pieces)
    out.write(interchange_trailer(interchange, -(-claims.height // most)).encode())
    data = out.getvalue()
    return data.replace(SEGMENT.encode(), SEGMENT.encode() + b"\n") if interchange.line_break else data


def _typed(frame: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in columns.items())


def _transaction_sets(
    claims: pl.DataFrame, lines: pl.DataFrame, order: Order, rows: Rows, interchange: Interchange, first: int
) -> list[bytes | memoryview]:
    """Write the transaction sets of some claims, given in file order; `rows` are theirs in the whole frame.

    The place of a text is the number of providers, claims and lines before it, so no text is ever sorted.
    """
    own_lines, counter = order.lines_of(rows)
    lines = lines[own_lines].with_columns(counter=counter)
    line_count = order.line_count[rows]
    levels = find_levels(claims.select(_PROVIDER), line_count, interchange.max_claims_per_transaction)
    providers = as_written(claims[levels.start].select(_PROVIDER)).with_columns(
        parent=levels.parent[levels.start]
    )
    claims = as_written(claims.drop(_PROVIDER)).with_columns(level=levels.level, parent=levels.parent)
    written = pl.concat([provider_text(providers), claim_text(claims), line_text(lines)], rechunk=True)

    at_provider, at_line = levels.claim[levels.start] - 1, np.repeat(levels.claim, line_count) + counter
    taken: Rows = np.empty(len(written), np.int64)
    taken[np.concatenate([at_provider, levels.claim, at_line])] = np.arange(len(written))
    return _with_envelopes(written.gather(taken), levels.set_ends, interchange, first)


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
