"""The text of the claims of an 837P: what a billing provider, a claim and a service line look like in X12.

`edi.claim_837p` puts these texts in order and into envelopes. A template reads like the segments it writes;
values arrive folded (`edi.claim_columns`), so none of them can hold a delimiter.
"""

import re
from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from edi.claim_places import Rows

_TEXTS: Final = pl.List(pl.String)
_MOST_KEYS: Final = 5_000_000  # beyond, looking a value up costs more than writing it


def provider_text(claims: pl.DataFrame) -> pl.LazyFrame:
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


def claim_text(claims: pl.DataFrame) -> pl.LazyFrame:
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


def line_text(lines: pl.DataFrame) -> pl.LazyFrame:
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
