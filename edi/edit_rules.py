"""The edits of an 837P: the rows of `edits.csv`, each with the fault it looks for.

A row says where it looks (`path`, see `edi.claim_places`), and in words what is wrong and what to do. Its
fault is, in this order: the expression in `FAULTS`; a text that does not match its `pattern`; for a rule
ending in `.required`, an absent element. Null is no fault, so absence is the business of the required rows
alone. `edi.edits` prepares one frame for each `table` and runs it. Levels 1 to 5 of SNIP and what Medicare
asks for beyond them (`medicare`: claims whose SBR09 is MB). How a place is found does not belong here.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

import polars as pl

from edi.findings import Severity

Table = Literal["set", "level", "claim", "diagnosis", "line"]

ICD_10_CM: Final = r"^[A-Z][0-9][0-9A-Z][0-9A-Z]{0,4}$"
_PO_BOX: Final = r"\bP\W{0,2}O\W{0,2}BOX\b|\bPOST\s+OFFICE\s+BOX\b|^BOX\s+\d"
# What may be shown of a text: a number, or a code too short for a name.
_SHOWABLE: Final = r"^([A-Z0-9]{1,3}|-?\d{0,12}(\.\d{1,4})?)$"


@dataclass(frozen=True)
class Edit:
    """One edit.

    Attributes:
        rule: Stable id, `837P.<element>.<fault>`.
        path: The element; a finding names its segment, or the claim's or line's first one when it is missing.
        fault: True on the rows at fault.
        found: What stands there, where that can be shown.
        expected: What should.
        message: What is wrong, and the fix.
    """

    rule: str
    path: str
    fault: pl.Expr
    severity: Severity
    found: pl.Expr | None
    expected: pl.Expr | None
    message: str


def _missing(path: str, when: pl.Expr) -> pl.Expr:
    return pl.col(path).is_null() & when.fill_null(value=False)


def _is_no_npi(path: str) -> pl.Expr:
    """Tell what is no NPI: ten digits, the first 1 or 2, and the Luhn digit over 80840 and the number."""
    total = pl.lit(24, dtype=pl.Int32)  # what the prefix adds to every sum
    for place in range(10):
        digit = pl.col(path).str.slice(place, 1).cast(pl.Int32, strict=False)
        doubled = digit * 2 if place % 2 == 0 else digit
        total = total + pl.when(doubled > 9).then(doubled - 9).otherwise(doubled)
    is_npi = pl.col(path).str.contains(r"^[12]\d{9}$") & (total % 10 == 0).fill_null(value=False)
    return pl.col(path).is_not_null() & ~is_npi


def _is_no_date(path: str) -> pl.Expr:
    return pl.col(path).is_not_null() & pl.col(path).str.to_date("%Y%m%d", strict=False).is_null()


_IS_SELF: Final = pl.col("2000B/SBR-02") == "18"
_HAS_RENDERING: Final = pl.col("2310B/NM1-01").is_not_null()
_HAS_SERVICE: Final = pl.col("2400/SV1-01").is_not_null()
_FREQUENCY: Final = pl.col("2300/CLM-05-3")
_CLAIM_NUMBER: Final = pl.col("2300/CLM-01")
_PAYER_CLAIM: Final = pl.col("2300/REF*F8-02")
_CONTROL: Final = "2400/REF*6R-02"
_POINTED: Final = pl.col("pointers").list.eval(pl.element().cast(pl.Int64, strict=False))

FAULTS: Final[Mapping[str, pl.Expr]] = {
    # Of a transaction set.
    "837P.ST03.implementation": ~pl.col("implementation").str.starts_with("005010X222"),
    "837P.GS01.functional_code": pl.col("functional_code") != "HC",
    "837P.ISA12.version": pl.col("version") != "00501",
    "837P.ISA13.control_number": ~pl.col("interchange_control_number").str.contains(r"^\d{9}$"),
    "837P.ISA15.usage": ~pl.col("usage").is_in(["T", "P"]),
    "837P.1000A.PER04.phone": (pl.col("1000A/PER-03") == "TE")
    & ~pl.col("1000A/PER-04").str.contains(r"^\d{10}$"),
    "837P.BHT04.date": _is_no_date("BHT/BHT-04"),
    "837P.CLM.too_many": pl.col("claim_count") > 5000,
    # Of a level.
    "837P.HL01.sequence": pl.col("2000/HL-01").fill_null("") != pl.col("number").cast(pl.String),
    "837P.HL02.parent": pl.col("2000/HL-02").fill_null("") != pl.col("parent").fill_null(""),
    "837P.HL04.children": pl.col("2000/HL-04").fill_null("") != pl.col("children"),
    # Of a claim.
    "837P.2010BA.N301.required": _missing("2010BA/N3-01", _IS_SELF),
    "837P.2010BA.N401.required": _missing("2010BA/N4-01", _IS_SELF),
    "837P.2010BA.N402.required": _missing("2010BA/N4-02", _IS_SELF),
    "837P.2010BA.N403.required": _missing("2010BA/N4-03", _IS_SELF),
    "837P.2010BA.DMG02.required": _missing("2010BA/DMG-02", _IS_SELF),
    "837P.2010BA.DMG03.required": _missing("2010BA/DMG-03", _IS_SELF),
    "837P.2310B.NM103.required": _missing("2310B/NM1-03", _HAS_RENDERING),
    "837P.2310B.NM104.required": _missing("2310B/NM1-04", pl.col("2310B/NM1-02") == "1"),
    "837P.2310B.NM109.required": _missing("2310B/NM1-09", _HAS_RENDERING),
    "837P.CLM05-3.medicare": _FREQUENCY.is_in(["6", "7", "8"]),
    "837P.REF_F8.required": _missing("2300/REF*F8-02", _FREQUENCY.is_in(["7", "8"]) & ~pl.col("is_medicare")),
    "837P.REF_F8.medicare": _PAYER_CLAIM.is_not_null(),
    "837P.CLM01.unique": _CLAIM_NUMBER.is_not_null() & _CLAIM_NUMBER.is_duplicated(),
    "837P.CLM02.positive": pl.col("total") == 0,
    "837P.CLM02.balance": pl.col("total") != pl.col("charges"),
    "837P.CLM.lines": ~pl.col("line_count").is_between(1, 50),
    "837P.2010AA.NM109.npi": _is_no_npi("2010AA/NM1-09"),
    "837P.2010AA.N301.po_box": pl.col("2010AA/N3-01").str.contains(_PO_BOX),
    "837P.SBR01.one_primary": pl.col("2000B/SBR-01").str.contains("^[A-HPSTU]$")
    & (pl.col("primary_count") != 1),
    "837P.DMG02.date": _is_no_date("2010BA/DMG-02"),
    "837P.DMG02.future": pl.col("birth_date") > pl.col("today"),
    "837P.2310B.NM109.npi": _is_no_npi("2310B/NM1-09"),
    "837P.2310D.NM109.rendering": pl.col("2310D/NM1-09") == pl.col("2310B/NM1-09"),
    "837P.HI.too_many": pl.col("diagnosis_count") > 12,
    # Of a diagnosis.
    "837P.HI.qualifier": pl.col("qualifier") != pl.col("mark"),
    "837P.HI.code": ~pl.col("code").str.contains(ICD_10_CM).fill_null(value=False),
    "837P.HI.code_set": pl.col("code").str.contains(ICD_10_CM) & ~pl.col("is_known"),
    "837P.HI.twice": pl.col("code").is_not_null() & ~pl.struct("claim", "code").is_first_distinct(),
    # Of a line.
    "837P.SV103.required": _missing("2400/SV1-03", _HAS_SERVICE),
    "837P.SV107.required": _missing("2400/SV1-07", _HAS_SERVICE),
    "837P.LX01.sequence": pl.col("2400/LX-01") != pl.col("number").cast(pl.String),
    "837P.SV101-2.code": (pl.col("2400/SV1-01-1") == "HC")
    & ~pl.col("2400/SV1-01-2").str.contains(r"^[A-Z0-9]\d{3}[A-Z0-9]$"),
    "837P.SV101.modifier": pl.col("modifiers")
    .list.eval(~pl.element().str.contains(r"^[A-Z0-9]{2}$"))
    .list.any(),
    "837P.SV101.modifier_twice": pl.col("modifiers").list.n_unique() < pl.col("modifiers").list.len(),
    "837P.SV101.modifiers": pl.col("2400/SV1-01-7").str.contains("^[A-Z0-9]{2}$"),
    "837P.SV101.add_on": ~pl.col("has_base"),
    "837P.SV107.pointer": (
        _POINTED.list.eval(pl.element().is_null() | (pl.element() < 1)).list.any()
        | (_POINTED.list.max() > pl.col("diagnosis_count"))
    ),
    "837P.SV107.pointers": (pl.col("pointers").list.len() > 4)
    | (pl.col("pointers").list.n_unique() < pl.col("pointers").list.len()),
    "837P.DTP472.date": pl.col("2400/DTP*472-03").is_not_null()
    & (pl.col("starts_on").is_null() | pl.col("ends_on").is_null()),
    "837P.DTP472.future": pl.max_horizontal("starts_on", "ends_on") > pl.col("today"),
    "837P.DTP472.birth": pl.col("starts_on") < pl.col("birth_date"),
    "837P.REF_6R.unique": pl.col(_CONTROL).is_not_null() & pl.struct("claim", _CONTROL).is_duplicated(),
}


def load_edits() -> dict[Table, tuple[Edit, ...]]:
    """Read the edits, in the order of the file.

    Raises:
        ValueError: If the file and `FAULTS` do not belong together.
    """
    with Path(__file__).with_name("edits.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    unknown = FAULTS.keys() - {row["rule"] for row in rows}
    if unknown:
        raise ValueError(f"edits.csv lacks the rules {', '.join(sorted(unknown))}; add a row for each.")
    tables: dict[Table, tuple[Edit, ...]] = {}
    for row in rows:
        table = cast(Table, row["table"])
        tables[table] = (*tables.get(table, ()), _edit(row))
    return tables


def _edit(row: Mapping[str, str]) -> Edit:
    rule, path = row["rule"], row["path"]
    if rule in FAULTS:
        fault = FAULTS[rule]
    elif row["pattern"]:
        fault = ~pl.col(path).str.contains(row["pattern"])
    elif rule.endswith(".required"):
        fault = pl.col(path).is_null()
    else:
        raise ValueError(f"edits.csv says of {rule} neither a pattern nor what is required; give it a fault.")
    if row["medicare"] == "yes":
        fault = fault & pl.col("is_medicare")
    found = pl.col(row["found"]).cast(pl.String) if row["found"] else None
    return Edit(
        rule,
        path,
        fault.fill_null(value=False),
        cast(Severity, row["severity"]),
        None if found is None else pl.when(found.str.contains(_SHOWABLE)).then(found),
        _filled(row["expected"]) if row["expected"] else None,
        row["message"],
    )


def _filled(text: str) -> pl.Expr:
    """Fill columns into a text: `1 to {diagnosis_count}`."""
    parts = re.split(r"\{(\w+)\}", text)
    return pl.concat_str(
        pl.col(part).cast(pl.String) if index % 2 else pl.lit(part) for index, part in enumerate(parts)
    )


EDITS: Final = load_edits()
