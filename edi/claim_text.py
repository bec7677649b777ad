"""The text of the claims of an 837P: what a billing provider, a claim and a service line look like in X12.

`edi.claim_837p` puts these texts in order and into envelopes. A template reads like the segments it writes;
its values are folded (`edi.claim_columns`), so none of them can hold a delimiter.
"""

import re
from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl

from edi.claim_columns import as_written, says_one
from edi.claim_places import Rows

_Pieces = list[str | pl.Expr]  # constant text, and what is filled in between
_TEXTS: Final = pl.List(pl.String)
_TICKS_A_ROW: Final = 4
# What most lines share with many others of the month: the same service on the same day, for the same money.
_SERVICE: Final = (
    "counter",
    "code",
    "modifiers",
    "charge",
    "units",
    "diagnosis_pointers",
    "date_of_service",
)


def provider_text(claims: pl.DataFrame) -> pl.Series:
    """Loops 2000A and 2010AA, of the first claim of each."""
    template = (
        "HL*{parent}**20*1~{taxonomy}"
        "NM1*85*2*{billing_name}*****XX*{billing_npi}~"
        "N3*{billing_address_line}~"
        "N4*{billing_city}*{billing_state}*{billing_postal_code}~"
        "REF*EI*{billing_tax_id}~"
    )
    taxonomy = _if(claims["billing_taxonomy_code"], "PRV*BI*PXC*{billing_taxonomy_code}~")
    return claims.select(text=_written(template, taxonomy=taxonomy))["text"]


def claim_text(claims: pl.DataFrame) -> pl.Series:
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
    taxonomy = _if(claims["rendering_taxonomy_code"], "PRV*PE*PXC*{rendering_taxonomy_code}~")
    claims = claims.with_columns(
        _each_once(claims["total_charge"], _amount("total_charge")),
        _each_once(claims["subscriber_birth_date"], _day("subscriber_birth_date")),
        _joined("diagnosis_codes", "*ABF:"),
    )
    parts = _constant(claims) | {
        "payer_claim": _if(claims["payer_claim_control_number"], "REF*F8*{payer_claim_control_number}~"),
        "medical_record": _if(claims["medical_record_number"], "REF*EA*{medical_record_number}~"),
        "diagnoses": _if(claims["diagnosis_codes"], "HI*ABK:{diagnosis_codes}~"),
        "rendering": _if(claims["rendering_npi"], rendering, taxonomy=taxonomy),
    }
    return claims.select(text=_written(template, **parts))["text"]


def line_text(lines: pl.DataFrame) -> pl.Series:
    """Loop 2400; every service is written once, however many lines say it."""
    alike = lines.select(*_SERVICE, row=pl.int_range(pl.len())).group_by(_SERVICE).agg("row")
    service: Rows = np.empty(lines.height, np.int64)
    service[alike["row"].explode().to_numpy()] = np.repeat(
        np.arange(alike.height), alike["row"].list.len().to_numpy()
    )
    texts = _service_text(as_written(alike.select(_SERVICE))).gather(service)
    own = as_written(lines.select("line_control_number")).with_columns(service=texts)
    control = _if(own["line_control_number"], "REF*6R*{line_control_number}~")
    return own.select(text=_written("{service}{control}", control=control))["text"]


def _service_text(services: pl.DataFrame) -> pl.Series:
    """Loop 2400 up to the line's own control number."""
    template = (
        "LX*{counter}~SV1*HC:{code}{modified}*{charge}*UN*{units}{pointers}~DTP*472*D8*{date_of_service}~"
    )
    services = services.with_columns(
        _amount("charge"),
        _day("date_of_service"),
        _joined("modifiers", ":"),
        _joined("diagnosis_pointers", ":"),
    )
    parts = {
        "modified": _if(services["modifiers"], ":{modifiers}"),
        "pointers": _if(services["diagnosis_pointers"], "***{diagnosis_pointers}"),
    }
    return services.select(text=_written(template, **parts))["text"]


def _pieces(template: str, parts: Mapping[str, _Pieces]) -> _Pieces:
    """Cut a template into its constant texts and what stands for each `{name}`: a part, or a column."""
    pieces: _Pieces = []
    for index, piece in enumerate(re.split(r"\{(\w+)\}", template)):
        pieces += parts.get(piece, [pl.col(piece).fill_null("")]) if index % 2 else [piece]
    return pieces


def _written(template: str, **parts: _Pieces) -> pl.Expr:
    """Fill columns, or the given parts, into `{name}`; a null is written as nothing."""
    pieces = _pieces(template, parts)
    values = [piece for piece in pieces if isinstance(piece, pl.Expr)]
    return pl.format("".join(piece if isinstance(piece, str) else "{}" for piece in pieces), *values)


def _constant(frame: pl.DataFrame) -> dict[str, _Pieces]:
    """Take as constant text what all rows say alike."""
    return {
        name: [column[0]]
        for name, column in zip(frame.columns, frame.iter_columns(), strict=True)
        if column.dtype == pl.String and says_one(column)
    }


def _if(column: pl.Series, template: str, **parts: _Pieces) -> _Pieces:
    """Write the template where the column is not null, else nothing.

    Most columns are all null or have no null at all; then no row is asked.
    """
    if column.null_count() == len(column):
        return []
    if column.null_count() == 0:
        return _pieces(template, parts)
    has_value = pl.col(column.name).is_not_null()
    return [pl.when(has_value).then(_written(template, **parts)).otherwise(pl.lit(""))]


def _each_once(column: pl.Series, text: pl.Expr) -> pl.Series:
    """Write each different value once, where the values lie near enough to one another to tick them off."""
    values = column.to_physical().cast(pl.Int64).to_numpy()
    if column.null_count() or not len(column) or np.ptp(values) > _TICKS_A_ROW * len(column):
        return column.to_frame().select(text).to_series()
    at = values - values.min()
    row = np.full(at.max() + 1, -1, np.int64)
    row[at] = np.arange(len(column))
    nth = np.cumsum(row >= 0, dtype=np.uint32) - 1
    texts: pl.Series = column[row[row >= 0]].to_frame().select(text).to_series()
    return texts.gather(nth[at])


def _joined(lists: str, separator: str) -> pl.Expr:
    """Join the texts of each list; null when there are none."""
    texts = pl.col(lists).cast(_TEXTS).list.join(separator)
    return pl.when(pl.col(lists).list.len() > 0).then(texts).alias(lists)


def _amount(money: str) -> pl.Expr:
    """Write money the X12 way: no trailing zeros after the point, no leading zero, zero as 0."""
    digits = pl.col(money).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    return pl.when(pl.col(money) == 0).then(pl.lit("0")).otherwise(digits.str.strip_prefix("0")).alias(money)


def _day(date: str) -> pl.Expr:
    """Write dates as CCYYMMDD."""
    return pl.col(date).dt.strftime("%Y%m%d")
