"""Our own edits of the 837P, over every claim of a document: columnar, and cheap enough to run always.

`edi.check` runs them beside the independent judge. The edits themselves are the rows of `edi.edit_rules`;
this module prepares the frame each table looks at. They work on the cut document and not on the frames it was
written from, so what went wrong on the way is caught too.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
import polars as pl

from edi.claim_places import (
    DIAGNOSIS_QUALIFIERS,
    Places,
    Rows,
    find_places,
    first_between,
    qualified,
    split,
    take,
)
from edi.edit_rules import EDITS, Edit
from edi.elements import latest
from edi.findings import FILE, collect, findings
from edi.segments import Document
from edi.text_edits import outside_basic_set, too_long
from edi.values import as_amount

# Add-on codes and the code each needs beside it on the same claim and date.
ADD_ON_CODES: Final[Mapping[str, str]] = {"99458": "99457"}


def edit_claims(
    document: Document,
    *,
    today: date,
    diagnosis_codes: pl.Series | None = None,
    add_on_codes: Mapping[str, str] = ADD_ON_CODES,
) -> pl.DataFrame:
    """Judge every professional claim of a document; of other claims, only that they are none.

    Args:
        document: The cut file.
        today: The day against which dates of service and birth are in the future.
        diagnosis_codes: The billable ICD-10-CM codes, without dots; left out, shapes are judged.
        add_on_codes: Add-on code to the code it needs.

    Returns:
        Findings with `claim_number` where one can be told, in file order. The envelope's own findings are the
        document's.
    """
    return edit_places(find_places(document), today, diagnosis_codes, add_on_codes)


def edit_places(
    places: Places,
    today: date,
    diagnosis_codes: pl.Series | None = None,
    add_on_codes: Mapping[str, str] = ADD_ON_CODES,
) -> pl.DataFrame:
    """Judge claims whose places are already found; see `edit_claims`."""
    document = places.document
    diagnoses = _diagnoses(places, diagnosis_codes)
    lines = _lines(places, add_on_codes)
    claims = _claims(places, lines, diagnoses, today)
    claims = claims.filter(pl.col("transaction").is_in(_professional(document).implode()))
    shared = claims.select("claim", "transaction", "is_medicare", "birth_date", "today", "diagnosis_count")
    found = [
        *_run(EDITS["set"], _sets(places)),
        *_run(EDITS["level"], _levels(document)),
        *_run(EDITS["claim"], claims),
        *_run(EDITS["diagnosis"], diagnoses.join(shared, on="claim", maintain_order="left")),
        *_run(EDITS["line"], lines.join(shared, on="claim", maintain_order="left")),
        findings(
            FILE.filter(pl.lit(len(places.claim_transaction) == 0)),
            "837P.CLM.none",
            "The file holds no claim. Check that the right file was meant.",
            expected="CLM",
        ),
        *too_long(document),
        outside_basic_set(document),
    ]
    # The segments above the claims are shared: what is wrong there is said once.
    return with_claim_numbers(collect(*found).unique(maintain_order=True), places)


def with_claim_numbers(found: pl.DataFrame, places: Places) -> pl.DataFrame:
    """Put beside each finding the claim (CLM01) in whose segments it stands, null above the claims."""
    clm, level = places.claims["2300/CLM"], places.claims["2000B/HL"]
    numbers = places.document.element(clm, 1).extend_constant(None, 1)
    previous_end = np.concatenate([np.zeros(1, np.int64), places.claim_end[:-1]])[: len(clm)]
    starts = np.maximum(np.where(level < 0, clm, level), previous_end)
    rows = found["segment"].fill_null(0).to_numpy() - places.document.number([0])
    claim = latest(starts, rows)
    is_inside = (claim >= 0) & (rows < np.append(places.claim_end, 0)[claim])
    return found.with_columns(claim_number=numbers.gather(np.where(is_inside, claim, len(clm))))


def _professional(document: Document) -> pl.Series:
    """Find the transaction sets that are professional claims, or do not say."""
    implementation = pl.col("implementation")
    is_other = implementation.str.contains(r"^00\d{4}X") & ~implementation.str.contains(r"X(222|098)")
    sets = document.transactions.filter(pl.col("type") == "837", ~is_other.fill_null(value=False))
    return sets["transaction"]


def _run(edits: Sequence[Edit], frame: pl.DataFrame) -> list[pl.DataFrame]:
    """Run one table over its frame: all faults in one pass, findings only where there are any."""
    faults = frame.select(edit.fault.alias(edit.rule) for edit in edits)
    return [
        findings(
            frame.filter(faults[edit.rule]).with_columns(segment=pl.coalesce(f"@{place}", "segment")),
            edit.rule,
            edit.message,
            severity=edit.severity,
            loop=loop,
            element=pl.col("place_in_hi") if "place_in_hi" in frame.columns else element,
            found=edit.found,
            expected=edit.expected,
        )
        for edit in edits
        if faults[edit.rule].any()
        for place, loop, element in [_names(edit.path)]
    ]


def _names(path: str) -> tuple[str, str | None, str]:
    """Name an element the way findings do: 2300/REF*F8-02 is REF02 of loop 2300."""
    place, number, component = split(path)
    loop, segment = place.split("/")
    element = f"{segment.split('*')[0]}{number:02}" + (f"-{component}" if component else "")
    return place, loop if loop[0].isdigit() else None, element


def _frame(document: Document, rows: Mapping[str, Rows], edits: Sequence[Edit], *more: str) -> pl.DataFrame:
    """Take every element the edits name as text, and the segment number of every place as `@place`."""
    named = {name for edit in edits for name in edit.fault.meta.root_names() if "/" in name}
    texts = take(document, rows, sorted(named | {edit.path for edit in edits} | set(more)))
    numbers = {
        f"@{place}": pl.Series(document.number(at), dtype=pl.Int64).set(pl.Series(at < 0), None)
        for place, at in rows.items()
    }
    return texts.with_columns(**numbers)


def _sets(places: Places) -> pl.DataFrame:
    document = places.document
    sets = document.transactions.filter(type="837", is_implied=False)
    start, end = (sets[name].to_numpy() - document.number([0]) for name in ("first_segment", "last_segment"))
    rows = {"ST/ST": start, "BHT/BHT": first_between(document.rows("BHT"), start, end)}
    nm1 = qualified(document, "NM1")
    for loop, qualifier in (("1000A", "41"), ("1000B", "40")):
        rows[f"{loop}/NM1"] = first_between(nm1(qualifier), start, end)
    rows["1000A/PER"] = first_between(
        document.rows("PER"), rows["1000A/NM1"], np.where(rows["1000B/NM1"] < 0, end, rows["1000B/NM1"])
    )
    counts = np.bincount(places.claim_transaction, minlength=document.transactions.height + 1)
    return pl.concat([sets, _frame(document, rows, EDITS["set"])], how="horizontal").with_columns(
        segment=pl.col("first_segment"),
        claim_count=pl.Series(counts[sets["transaction"].to_numpy()], dtype=pl.Int64),
    )


def _levels(document: Document) -> pl.DataFrame:
    """One row per HL; a level's parent is the last one above it, its children follow it at once."""
    hl, transaction = document.rows_in("837", "HL")
    level = pl.col("2000/HL-03")
    above = pl.when(level == "22").then(pl.lit("20")).when(level == "23").then(pl.lit("22"))
    follows = pl.col("transaction") == pl.col("transaction").shift(-1)
    deeper = level.shift(-1).cast(pl.Int64, strict=False) > level.cast(pl.Int64, strict=False)
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    parents = [
        pl.when(above == code).then(
            pl.when(level == code).then("2000/HL-01").forward_fill().over("transaction")
        )
        for code in ("20", "22")
    ]
    return (
        _frame(document, {"2000/HL": hl}, EDITS["level"])
        .with_columns(segment=pl.col("@2000/HL"), transaction=pl.Series(transaction, dtype=pl.Int64))
        .with_columns(
            number=number.over("transaction"),
            parent=pl.coalesce(parents),
            children=pl.when((follows & deeper).fill_null(value=False))
            .then(pl.lit("1"))
            .otherwise(pl.lit("0")),
        )
    )


def _claims(places: Places, lines: pl.DataFrame, diagnoses: pl.DataFrame, today: date) -> pl.DataFrame:
    document, clm = places.document, places.claims["2300/CLM"]
    sbr = document.rows("SBR")
    primary = sbr[(document.element(sbr, 1) == "P").fill_null(value=False).to_numpy()]
    others = np.searchsorted(primary, places.claim_end) - np.searchsorted(primary, clm)
    is_readable = pl.col("charge").null_count() == 0
    sums = lines.group_by("claim").agg(
        charges=pl.when(is_readable).then(pl.col("charge").sum()), line_count=pl.len()
    )
    counts = diagnoses.group_by("claim").agg(diagnosis_count=pl.len())
    return (
        _frame(document, places.claims, EDITS["claim"])
        .with_columns(
            claim=pl.int_range(pl.len(), dtype=pl.Int64),
            segment=pl.col("@2300/CLM"),
            transaction=pl.Series(places.claim_transaction, dtype=pl.Int64),
            is_medicare=(pl.col("2000B/SBR-09") == "MB").fill_null(value=False),
            total=as_amount(pl.col("2300/CLM-02")),
            birth_date=pl.col("2010BA/DMG-02").str.to_date("%Y%m%d", strict=False),
            today=pl.lit(today),
            primary_count=pl.Series(others, dtype=pl.Int64)
            + (pl.col("2000B/SBR-01") == "P").fill_null(value=False),
        )
        .join(sums, on="claim", how="left", maintain_order="left")
        .join(counts, on="claim", how="left", maintain_order="left")
        .with_columns(pl.col("line_count", "diagnosis_count").fill_null(0))
    )


def _diagnoses(places: Places, diagnosis_codes: pl.Series | None) -> pl.DataFrame:
    """One row per diagnosis; HI elements of other kinds (conditions, procedures) are not looked at."""
    code = pl.col("code")
    is_known = pl.lit(value=True) if diagnosis_codes is None else code.is_in(diagnosis_codes.implode())
    return (
        places.diagnoses()
        .filter(pl.col("qualifier").is_in(DIAGNOSIS_QUALIFIERS))
        .with_columns(
            is_known=is_known,
            mark=pl.when(pl.col("claim").is_first_distinct()).then(pl.lit("ABK")).otherwise(pl.lit("ABF")),
            place_in_hi=pl.format("HI{}-2", pl.col("position").cast(pl.String).str.zfill(2)),
        )
        .with_columns(pl.col("segment").alias("@2300/HI"))
    )


def _lines(places: Places, add_on_codes: Mapping[str, str]) -> pl.DataFrame:
    document, sv1 = places.document, places.lines["2400/SV1"]
    when, kind = pl.col("2400/DTP*472-03"), pl.col("2400/DTP*472-02")
    is_day = (kind == "D8") & (when.str.len_chars() == 8)
    is_range = (kind == "RD8") & (when.str.len_chars() == 17)
    begins = pl.when(is_day | is_range).then(when.str.slice(0, 8))
    ends = pl.when(is_day).then(when).when(is_range).then(when.str.slice(9))
    code = pl.col("2400/SV1-01-2")
    row = pl.int_range(pl.len(), dtype=pl.Int64)
    is_first = (pl.col("claim") != pl.col("claim").shift(1)).fill_null(value=True)
    lines = (
        _frame(document, places.lines, EDITS["line"], "2400/DTP*472-02")
        .with_columns(
            row=row,
            claim=pl.Series(places.line_claim, dtype=pl.Int64),
            segment=pl.coalesce("@2400/LX", "@2400/SV1"),
            charge=as_amount(pl.col("2400/SV1-02")),
            modifiers=document.components(sv1, 1).list.slice(2, 4),
            pointers=document.components(sv1, 7),
            starts_on=begins.str.to_date("%Y%m%d", strict=False),
            ends_on=ends.str.to_date("%Y%m%d", strict=False),
            base=code.replace_strict(dict(add_on_codes), default=None, return_dtype=pl.String),
        )
        .with_columns(
            number=row - pl.when(is_first).then(row).forward_fill() + 1,
            modifiers=pl.col("modifiers").list.eval(pl.element().filter(pl.element().str.len_bytes() > 0)),
        )
    )
    alone = _without_base(lines.select("row", "claim", "starts_on", "base", code=code))
    return lines.with_columns(has_base=~pl.col("row").is_in(alone.implode()))


def _without_base(lines: pl.DataFrame) -> pl.Series:
    """Find the rows of add-on codes whose claim has no line of the base code on that day.

    A base code whose own date cannot be read is that date's fault, and stands for any day.
    """
    bases = lines.select("claim", "starts_on", base="code")
    add_ons = lines.filter(pl.col("base").is_not_null() & pl.col("starts_on").is_not_null())
    same_day = add_ons.join(bases, on=["claim", "base", "starts_on"], how="anti")
    return same_day.join(bases.filter(pl.col("starts_on").is_null()), on=["claim", "base"], how="anti")["row"]
