"""The 837P: claims and lines as frames, to bytes.

`tasks.translate` and the sandbox hand over frames with the columns of `CLAIM_COLUMNS` and `LINE_COLUMNS`;
`write_claims` turns them into one interchange. `edi.claim_reader` reads the same frames back, `edi.edits`
judges what was written. What surrounds the claims is `edi.envelope`. No rule of billing belongs here.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import polars as pl

from edi.claim_columns import CLAIM_COLUMNS, LINE_COLUMNS, as_written
from edi.claim_places import Rows
from edi.claim_reader import ClaimFrames, read_claims
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

_TEXTS: Final = pl.List(pl.String)
# What one thread writes at a time: enough to be worth a thread, few enough to stay small in memory.
_CLAIMS_AT_A_TIME: Final = 25_000
_WRITERS: Final = 2
_MOST_KEYS: Final = 5_000_000  # beyond, looking a value up costs more than writing it
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

    def write(start: int) -> list[bytes | memoryview]:
        chosen = order[start : start + size]
        first, last = np.searchsorted(claim_of_line, (start, start + size)).tolist()
        return _transaction_sets(
            as_written(
                claims[chosen].select(pl.col(name).cast(kind) for name, kind in CLAIM_COLUMNS.items())
            ),
            as_written(
                lines[line_order[first:last]].select(
                    pl.col(name).cast(kind) for name, kind in LINE_COLUMNS.items()
                )
            ),
            claim_of_line[first:last] - start,
            interchange,
            start // most + 1,
        )

    most = interchange.max_claims_per_transaction
    size = most * max(1, _CLAIMS_AT_A_TIME // most)
    with ThreadPoolExecutor(_WRITERS) as pool:
        sets = [piece for pieces in pool.map(write, range(0, len(order), size)) for piece in pieces]
    header = interchange_header(interchange)
    trailer = interchange_trailer(interchange, -(-len(order) // most))
    data = b"".join([header.encode(), *sets, trailer.encode()])
    return data.replace(SEGMENT.encode(), SEGMENT.encode() + b"\n") if interchange.line_break else data


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
        [_provider_text(providers), _claim_text(claims), _line_text(lines.with_columns(counter=counter))]
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


def _written(template: str, **parts: pl.Expr) -> pl.Expr:
    """Fill columns, or the given parts, into `{name}`; a null is written as nothing."""
    pieces = enumerate(re.split(r"\{(\w+)\}", template))
    return pl.concat_str(
        (parts.get(piece, pl.col(piece)) if index % 2 else pl.lit(piece) for index, piece in pieces if piece),
        ignore_nulls=True,
    )


def _if(column: str, template: str, **parts: pl.Expr) -> pl.Expr:
    """Write the template where the column is not null, else nothing."""
    return pl.when(pl.col(column).is_not_null()).then(_written(template, **parts))


def _joined(lists: pl.Series, separator: str) -> pl.Series:
    """Join the texts of each list; null when there are none."""
    has_text = lists.list.len() > 0
    texts = lists.filter(has_text).cast(_TEXTS).list.join(separator)
    if has_text.all():
        return texts
    nothing = pl.Series(lists.name, [None], pl.String).new_from_index(0, len(lists))
    return nothing.scatter(has_text.arg_true(), texts)


def _amounts(money: pl.Series) -> pl.Series:
    """Write money the X12 way: no trailing zeros after the point, no leading zero, zero as 0."""

    def write(some: pl.Series) -> pl.Series:
        digits = some.cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".").str.strip_prefix("0")
        return digits.set(some == 0, "0")

    return _each_once(money, (money * 100).cast(pl.Int64), write)


def _days(days: pl.Series) -> pl.Series:
    """Write dates as CCYYMMDD."""
    return _each_once(days, days.to_physical(), lambda some: some.dt.strftime("%Y%m%d"))


def _pointers(pointers: pl.Series) -> pl.Series:
    """Write SV107: up to four numbers from 1 to 12, parted by colons; null when there are none."""

    def write(some: pl.Series) -> pl.Series:
        return _joined(some, ":")

    flat = pointers.explode().drop_nulls()
    if (pointers.list.len() > 4).any() or not flat.is_between(1, 12).all():
        return write(pointers).alias(pointers.name)
    places = [pointers.list.get(place, null_on_oob=True).fill_null(0) * 13**place for place in range(4)]
    return _each_once(pointers, sum(places[1:], start=places[0]), write)


def _each_once(column: pl.Series, keys: pl.Series, write: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Write a column whose values repeat much: `write` sees one row of each key, nulls one of their own."""
    low = keys.min()
    if not isinstance(low, int):
        return write(column).alias(column.name)
    key = keys.cast(pl.Int64).fill_null(low - 1).to_numpy() - (low - 1)
    if int(key.max()) > _MOST_KEYS:
        return write(column).alias(column.name)
    example: Rows = np.full(int(key.max()) + 1, -1, np.int64)
    example[key] = np.arange(len(key))
    used = np.flatnonzero(example >= 0)
    rank: Rows = np.empty(len(example), np.int64)
    rank[used] = np.arange(len(used))
    return write(column.gather(example[used])).gather(rank[key]).alias(column.name)


def _provider_text(claims: pl.DataFrame) -> pl.LazyFrame:
    """Loops 2000A and 2010AA, of the first claim of each."""
    template = (
        "HL*{parent}**20*1~{taxonomy}"
        "NM1*85*2*{billing_name}*****XX*{billing_npi}~"
        "N3*{billing_address_line}~"
        "N4*{billing_city}*{billing_state}*{billing_postal_code}~"
        "REF*EI*{billing_tax_id}~"
    )
    taxonomy = _if("billing_taxonomy_code", "PRV*BI*PXC*{billing_taxonomy_code}~")
    return claims.lazy().select(text=_written(template, taxonomy=taxonomy))


def _claim_text(claims: pl.DataFrame) -> pl.LazyFrame:
    """Loops 2000B, 2010BA, 2010BB, 2300 and 2310B; the patient is always the subscriber."""
    template = (
        "HL*{level}*{parent}*22*0~"
        "SBR*P*18*******{claim_filing_code}~"
        "NM1*IL*1*{subscriber_last_name}*{subscriber_first_name}*{subscriber_middle_name}***MI*{member_id}~"
        "N3*{subscriber_address_line}~"
        "N4*{subscriber_city}*{subscriber_state}*{subscriber_postal_code}~"
        "DMG*D8*{subscriber_birth_date}*{subscriber_sex}~"
        "NM1*PR*2*{payer_name}*****PI*{payer_id}~"
        "CLM*{claim_number}*{total_charge}***{place_of_service_code}:B:{frequency_code}"
        "*Y*{assignment_code}*{benefits_assignment_code}*{release_code}~"
        "{payer_claim}{medical_record}{diagnoses}{rendering}"
    )
    rendering = "NM1*82*1*{rendering_last_name}*{rendering_first_name}****XX*{rendering_npi}~{taxonomy}"
    taxonomy = _if("rendering_taxonomy_code", "PRV*PE*PXC*{rendering_taxonomy_code}~")
    parts = {
        "payer_claim": _if("payer_claim_control_number", "REF*F8*{payer_claim_control_number}~"),
        "medical_record": _if("medical_record_number", "REF*EA*{medical_record_number}~"),
        "diagnoses": _if("diagnosis_codes", "HI*ABK:{diagnosis_codes}~"),
        "rendering": _if("rendering_npi", rendering, taxonomy=taxonomy),
    }
    return (
        claims.lazy()
        .with_columns(
            _amounts(claims["total_charge"]),
            _joined(claims["diagnosis_codes"], "*ABF:"),
            _days(claims["subscriber_birth_date"]),
        )
        .select(text=_written(template, **parts))
    )


def _line_text(lines: pl.DataFrame) -> pl.LazyFrame:
    """Loop 2400."""
    template = (
        "LX*{counter}~"
        "SV1*HC:{code}{modified}*{charge}*UN*{units}{pointers}~"
        "DTP*472*D8*{date_of_service}~{control}"
    )
    parts = {
        "modified": _if("modifiers", ":{modifiers}"),
        "pointers": _if("diagnosis_pointers", "***{diagnosis_pointers}"),
        "control": _if("line_control_number", "REF*6R*{line_control_number}~"),
    }
    return (
        lines.lazy()
        .with_columns(
            _amounts(lines["charge"]),
            _joined(lines["modifiers"], ":"),
            _pointers(lines["diagnosis_pointers"]),
            _days(lines["date_of_service"]),
        )
        .select(text=_written(template, **parts))
    )
