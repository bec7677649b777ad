"""The 837P: claims and lines as frames, to bytes.

`tasks.translate` and the sandbox hand over frames with the columns of `CLAIM_COLUMNS` and `LINE_COLUMNS`;
`write_claims` turns them into one interchange. `edi.claim_reader` reads the same frames back, `edi.edits`
judges what was written. What surrounds the claims is `edi.envelope`. No rule of billing belongs here.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from edi.claim_columns import CLAIM_COLUMNS, LINE_COLUMNS, as_written
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
_PROVIDER: Final = [name for name in CLAIM_COLUMNS if name.startswith("billing_")]


def write_claims(claims: pl.DataFrame, lines: pl.DataFrame, interchange: Interchange) -> bytes:
    """Write claims and their lines as one interchange.

    Claims are ordered by billing NPI and claim number, lines by line number; LX counts from 1. Every text
    is folded and cut to its element's length. A transaction set holds at most
    `max_claims_per_transaction` claims, and a provider's loop is repeated at the head of the next set.

    Raises:
        ValueError: If there is no claim, a claim number occurs twice, or a line has no claim.
    """
    claims, lines = _ordered(claims, lines)
    claims = _with_hierarchy(claims, interchange.max_claims_per_transaction)
    pieces, ends = _pieces(claims, lines)
    document = [interchange_header(interchange)]
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False), start=1):
        body = transaction_header(interchange, number) + str(
            pieces.slice(start, end - start).str.join("").item()
        )
        document += [body, transaction_trailer(body.count(SEGMENT), number)]
    text = "".join([*document, interchange_trailer(interchange, len(ends))])
    if interchange.line_break:
        text = text.replace(SEGMENT, SEGMENT + "\n")
    return text.encode("ascii")


def _with_hierarchy(claims: pl.DataFrame, most: int) -> pl.DataFrame:
    """Number the transaction sets and their HL levels.

    HL01 counts both levels through a set: a provider's comes right before its first claim's.
    """
    provider = pl.concat_str((_text(name) for name in _PROVIDER), separator=SEGMENT)
    row = pl.int_range(pl.len())
    is_set_start = row % most == 0
    is_provider_start = is_set_start | (provider != provider.shift(1))
    return (
        claims.with_columns(transaction=row // most, is_provider_start=is_provider_start)
        .with_columns(providers=pl.col("is_provider_start").cast(pl.Int64).cum_sum())
        .with_columns(
            level=row % most
            + 2
            + pl.col("providers")
            - pl.when(is_set_start).then("providers").forward_fill()
        )
        .with_columns(parent=pl.when("is_provider_start").then(pl.col("level") - 1).forward_fill())
    )


def _pieces(claims: pl.DataFrame, lines: pl.DataFrame) -> tuple[pl.Series, list[int]]:
    """Write the text of every provider, claim and line, in file order; and where each set ends."""
    providers = claims.filter("is_provider_start")
    texts = pl.concat(
        [
            providers.select(text=_provider_text()),
            claims.select(text=_claim_text()),
            lines.select(text=_line_text()),
        ]
    )["text"]
    # The place of a piece is the number of providers, claims and lines before it: no sort of text is needed.
    started = claims["providers"].to_numpy()
    owner = lines["claim"].to_numpy()
    line_count = np.bincount(owner, minlength=claims.height)
    of_claims = np.arange(claims.height) + started + np.cumsum(line_count) - line_count
    of_lines = np.arange(lines.height) + owner + 1 + started[owner]
    of_providers = of_claims[providers["claim"].to_numpy()] - 1
    order: NDArray[np.int64] = np.empty(len(texts), np.int64)
    order[np.concatenate([of_providers, of_claims, of_lines])] = np.arange(len(texts))
    last = claims.select((pl.col("transaction") != pl.col("transaction").shift(-1)).fill_null(value=True))
    ends = (of_claims + line_count + 1)[last.to_series().to_numpy()]
    return texts.gather(order), ends.tolist()


def _ordered(claims: pl.DataFrame, lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Fold both frames and put them in file order; `lines` gets the row of its claim and its LX number."""
    if claims.is_empty():
        raise ValueError("An interchange needs at least one claim; write no file for an empty month.")
    claims = as_written(claims.select(pl.col(name).cast(kind) for name, kind in CLAIM_COLUMNS.items()))
    claims = claims.sort("billing_npi", "claim_number").with_row_index("claim")
    if claims["claim_number"].n_unique() < claims.height:
        raise ValueError("A claim number occurs twice (after folding); one interchange carries a claim once.")
    lines = as_written(lines.select(pl.col(name).cast(kind) for name, kind in LINE_COLUMNS.items()))
    placed = lines.join(claims.select("claim_number", "claim"), on="claim_number", how="inner")
    if placed.height < lines.height:
        raise ValueError(f"{lines.height - placed.height} lines belong to no claim of this interchange.")
    placed = placed.sort("claim", "line_number", maintain_order=True)
    row = pl.int_range(pl.len())
    first = (
        pl.when((pl.col("claim") != pl.col("claim").shift(1)).fill_null(value=True)).then(row).forward_fill()
    )
    return claims, placed.with_columns(counter=row - first + 1)


def _text(name: str) -> pl.Expr:
    return pl.col(name).fill_null("")


def _optional(name: str, head: str) -> pl.Expr:
    """Write `head`, the text and the terminator where there is a text, else nothing."""
    return (
        pl.when(_text(name) != "")
        .then(pl.concat_str(pl.lit(head), name, pl.lit(SEGMENT)))
        .otherwise(pl.lit(""))
    )


def _amount(name: str) -> pl.Expr:
    """Write money the X12 way: no trailing zeros after the point, no leading zero, zero as 0."""
    digits = pl.col(name).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    return (
        pl.when(pl.col(name) == 0)
        .then(pl.lit("0"))
        .otherwise(digits.str.strip_chars_start("0"))
        .fill_null("")
    )


def _date(name: str) -> pl.Expr:
    return pl.col(name).dt.strftime("%Y%m%d").fill_null("")


def _provider_text() -> pl.Expr:
    """Loops 2000A and 2010AA."""
    return pl.concat_str(
        pl.format("HL*{}**20*1~", "parent"),
        _optional("billing_taxonomy_code", "PRV*BI*PXC*"),
        pl.format("NM1*85*2*{}*****XX*{}~", _text("billing_name"), _text("billing_npi")),
        pl.format("N3*{}~", _text("billing_address_line")),
        pl.format(
            "N4*{}*{}*{}~", _text("billing_city"), _text("billing_state"), _text("billing_postal_code")
        ),
        pl.format("REF*EI*{}~", _text("billing_tax_id")),
    )


def _claim_text() -> pl.Expr:
    """Loops 2000B, 2010BA, 2010BB, 2300 and 2310B; the patient is always the subscriber."""
    diagnoses = pl.col("diagnosis_codes").list.drop_nulls().list.join("*ABF:")
    rendering = pl.concat_str(
        pl.format(
            "NM1*82*1*{}*{}****XX*{}~",
            _text("rendering_last_name"),
            _text("rendering_first_name"),
            _text("rendering_npi"),
        ),
        _optional("rendering_taxonomy_code", "PRV*PE*PXC*"),
    )
    return pl.concat_str(
        pl.format(
            "HL*{}*{}*22*0~SBR*P*18*******{}~NM1*IL*1*{}*{}*{}***MI*{}~N3*{}~N4*{}*{}*{}~DMG*D8*{}*{}~",
            "level",
            "parent",
            _text("claim_filing_code"),
            _text("subscriber_last_name"),
            _text("subscriber_first_name"),
            _text("subscriber_middle_name"),
            _text("member_id"),
            _text("subscriber_address_line"),
            _text("subscriber_city"),
            _text("subscriber_state"),
            _text("subscriber_postal_code"),
            _date("subscriber_birth_date"),
            _text("subscriber_sex"),
        ),
        pl.format(
            "NM1*PR*2*{}*****PI*{}~CLM*{}*{}***{}:B:{}*Y*{}*{}*{}~",
            _text("payer_name"),
            _text("payer_id"),
            _text("claim_number"),
            _amount("total_charge"),
            _text("place_of_service_code"),
            _text("frequency_code"),
            _text("assignment_code"),
            _text("benefits_assignment_code"),
            _text("release_code"),
        ),
        _optional("payer_claim_control_number", "REF*F8*"),
        _optional("medical_record_number", "REF*EA*"),
        pl.when(diagnoses != "").then(pl.format("HI*ABK:{}~", diagnoses)).otherwise(pl.lit("")),
        pl.when(_text("rendering_npi") != "").then(rendering).otherwise(pl.lit("")),
    )


def _line_text() -> pl.Expr:
    """Loop 2400."""
    modifiers = pl.col("modifiers").list.drop_nulls().list.join(":")
    pointers = pl.col("diagnosis_pointers").list.drop_nulls().cast(_TEXTS).list.join(":")
    return pl.concat_str(
        pl.format("LX*{}~SV1*HC:{}", "counter", _text("code")),
        pl.when(modifiers != "").then(pl.format(":{}", modifiers)).otherwise(pl.lit("")),
        pl.format("*{}*UN*{}", _amount("charge"), pl.col("units").cast(pl.String).fill_null("")),
        pl.when(pointers != "").then(pl.format("***{}", pointers)).otherwise(pl.lit("")),
        pl.format("~DTP*472*D8*{}~", _date("date_of_service")),
        _optional("line_control_number", "REF*6R*"),
    )
