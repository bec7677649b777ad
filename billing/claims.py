"""Claims: lines from units and supply periods, and the claims they make up, numbered and sealed.

`billing.month` prices the candidate lines before holds decide, then assembles the claims of the patients
who are billed. The X12 text of a claim belongs to `edi`, its life after today to the ledger.

Source: CONTRACT §3 and §4; RPM_BILLING_RULES §4 and §5 (same claim, same date, lines per add-on).
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl
from pandera.typing.polars import DataFrame

from billing.digests import digests, name_codes
from billing.pricing import price_lines
from billing.reference.tables import RATIO, Reference
from schemas.columns import MONEY
from schemas.outputs import columns_of
from schemas.stages import Candidates, Claims, Evidence, Funding, Lines, People, SupplyPeriods, Units

CODE_FAMILY: Final = "RPM"
FIRST_VERSION: Final = 1
# HI takes twelve diagnoses a claim.
DIAGNOSES_PER_CLAIM: Final = 12

# Fifty lines fit a claim; a number above them sorts supply lines behind all management lines.
LINES_BEFORE_SUPPLY: Final = 100
NONE_BEFORE: Final = pl.lit(0)
ONE: Final = pl.lit(1)
NO_MODIFIER: Final = pl.lit("")

_ESTIMATES: Final = ("allowed_estimate", "medicare_estimate", "patient_estimate")


@dataclass(frozen=True)
class Assembled:
    """The claims of a month, their lines, and what funds each unit."""

    claims: DataFrame[Claims]
    lines: DataFrame[Lines]
    evidence: DataFrame[Evidence]


def candidate_lines(
    units: DataFrame[Units],
    supply: DataFrame[SupplyPeriods],
    people: DataFrame[People],
    charges: pl.DataFrame,
    reference: Reference,
) -> DataFrame[Candidates]:
    """Lay out every line the month would bring, with its charge and its price.

    Management lines come first: the base code, then one add-on line per unit, or one with all units if
    the payer wants that; a repeat modifier goes on the second and later add-on lines.

    Returns:
        Lines sorted by patient and `position`; charge or estimates are null where there are none.
    """
    lines = pl.concat([_base_lines(units), _add_on_lines(units, people), _supply_lines(supply)])
    known = people.select(
        "patient_id",
        "billing_npi",
        "mac_contract",
        "locality",
        "place_of_service",
        "participating",
        "qualifying_apm",
    )
    charged = _charge(lines.join(known, on="patient_id"), charges)
    priced = price_lines(charged, reference).sort("patient_id", "position")
    return Candidates.validate(priced.select(columns_of(Candidates)))


def without_unpriced_supply(candidates: DataFrame[Candidates]) -> DataFrame[Candidates]:
    """Drop supply lines that lack a charge or a rate, unless time is billed and the gap holds the claim."""
    is_complete = pl.col("charge").is_not_null() & pl.col("allowed_estimate").is_not_null()
    has_time = (~pl.col("is_supply")).any().over("patient_id")
    return Candidates.validate(candidates.filter(~pl.col("is_supply") | has_time | is_complete))


def assemble_claims(
    candidates: DataFrame[Candidates],
    billable: pl.DataFrame,
    funding: DataFrame[Funding],
    people: DataFrame[People],
    month: date,
) -> Assembled:
    """Make one claim of each billable patient's lines.

    Claim numbers follow from the natural key (billing NPI, member, month, code family) and the version
    alone, so the same month always gives the same numbers.
    """
    billed = candidates.join(billable, on="patient_id", how="semi").sort("patient_id", "position")
    who = _numbered(people.join(billed, on="patient_id", how="semi"), month)
    lines = (
        billed.join(who, on="patient_id")
        .sort("claim_number", "position")
        .with_columns(line_number=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("claim_number"))
        .with_columns(line_control_number=_line_control_number())
    )
    evidence = _evidence(lines, funding)
    claims = (
        lines.group_by("claim_number")
        .agg(
            pl.col("date_of_service").first(),
            pl.col("charge").sum().cast(MONEY).alias("total_charge"),
            pl.col(_ESTIMATES).sum().cast(MONEY),
            line_count=pl.len().cast(pl.Int64),
        )
        .join(who, on="claim_number")
        .join(evidence_seals(evidence), on="claim_number", how="left")
        .with_columns(
            pl.col("evidence_sha256").fill_null(digests(pl.Series([""])).item()),
            pl.col("diagnosis_codes").list.head(DIAGNOSES_PER_CLAIM),
        )
        .select(columns_of(Claims))
        .sort("claim_number")
    )
    return Assembled(Claims.validate(claims), Lines.validate(lines.select(columns_of(Lines))), evidence)


def evidence_seals(evidence: pl.DataFrame) -> pl.DataFrame:
    """Seal what funds each claim: claim_number, evidence_sha256.

    The text of a claim is its evidence in order, one row a line of text. The source object is not part of
    it: the same entry delivered once more in another file is the same evidence.
    """
    words = pl.concat_str(
        "line_number",
        "unit_number",
        "code",
        "entry_id",
        pl.col("started_at", "ended_at").dt.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"),
        separator="|",
    )
    texts = (
        evidence.sort("claim_number", "line_number", "unit_number", "started_at", "entry_id")
        .group_by("claim_number", maintain_order=True)
        .agg(words.str.join("\n").alias("text"))
    )
    return texts.select("claim_number", evidence_sha256=digests(texts["text"]))


def _base_lines(units: pl.DataFrame) -> pl.DataFrame:
    earned = units.filter(pl.col("base_code").is_not_null())
    return _laid_out(earned, pl.col("base_code"), pl.col("base_seconds"))


def _add_on_lines(units: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    wishes = people.select("patient_id", "has_add_on_units", "repeat_modifier")
    earned = units.filter(pl.col("add_on_units") > 0).join(wishes, on="patient_id")
    together = earned.filter("has_add_on_units")
    singly = (
        earned.filter(~pl.col("has_add_on_units"))
        .with_columns(unit=pl.int_ranges(1, pl.col("add_on_units") + 1))
        .explode("unit", empty_as_null=False)
    )
    code, unit = pl.col("add_on_code"), pl.col("unit")
    seconds, count = pl.col("add_on_seconds"), pl.col("add_on_units")
    modifier = pl.when(unit > 1).then("repeat_modifier")
    return pl.concat(
        [
            _laid_out(together, code, seconds * count, position=pl.lit(1), units=count),
            _laid_out(singly, code, seconds, position=unit, unit_from=unit, modifiers=modifier),
        ]
    )


def _supply_lines(supply: pl.DataFrame) -> pl.DataFrame:
    # Two periods of a month are two lines of the claim, after all management lines, by date.
    nth = pl.int_range(LINES_BEFORE_SUPPLY, LINES_BEFORE_SUPPLY + pl.len()).over(
        "patient_id", order_by="date_of_service"
    )
    return _laid_out(supply, pl.col("code"), pl.lit(0), position=nth, is_supply=True)


def _laid_out(
    frame: pl.DataFrame,
    code: pl.Expr,
    seconds: pl.Expr,
    *,
    position: pl.Expr = NONE_BEFORE,
    units: pl.Expr = ONE,
    unit_from: pl.Expr = ONE,
    modifiers: pl.Expr = NO_MODIFIER,
    is_supply: bool = False,
) -> pl.DataFrame:
    """Bring lines of any kind into one shape; the seconds are those of the whole line."""
    return frame.select(
        "patient_id",
        "date_of_service",
        position=position.cast(pl.Int64),
        is_supply=pl.lit(is_supply),
        code=code,
        modifiers=modifiers.fill_null(""),
        units=units.cast(pl.Int64),
        unit_from=unit_from.cast(pl.Int64),
        unit_to=(unit_from + units - 1).cast(pl.Int64),
        counted_seconds=seconds.cast(pl.Int64),
    )


def _charge(lines: pl.DataFrame, charges: pl.DataFrame) -> pl.DataFrame:
    """Add the charge of each line: units at the amount in effect on its date.

    An amount of the provider's own wins over one for all (`*`), whichever is newer; none, or none above
    zero, leaves the charge null.
    """
    book = charges.filter(pl.col("amount") > 0).sort("effective_from")
    own = book.select("billing_npi", "code", "effective_from", own_amount="amount")
    general = book.filter(pl.col("billing_npi") == "*").select(
        "code", "effective_from", general_amount="amount"
    )
    amount = pl.coalesce("own_amount", "general_amount").cast(RATIO)
    found = _latest(_latest(lines, own, ["billing_npi", "code"]), general, ["code"])
    return found.with_columns(charge=(amount * pl.col("units").cast(RATIO)).cast(MONEY)).drop(
        "own_amount", "general_amount"
    )


def _latest(lines: pl.DataFrame, book: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    return (
        lines.sort("date_of_service")
        .join_asof(
            book,
            left_on="date_of_service",
            right_on="effective_from",
            by=by,
            strategy="backward",
            check_sortedness=False,
        )
        .drop("effective_from")
    )


def _numbered(people: pl.DataFrame, month: date) -> pl.DataFrame:
    """Give each person's claim its number: R, year and month, eleven characters of its key, the version.

    The version stands alone at the end, so that the ledger can number a claim's successor.
    """
    key = pl.concat_str(
        "billing_npi", "member_id", pl.lit(f"{month:%Y-%m}"), pl.lit(CODE_FAMILY), separator="|"
    )
    codes = name_codes(people.select(key.alias("key"))["key"])
    return people.select(
        "patient_id",
        "member_id",
        "billing_npi",
        "rendering_npi",
        "payer_id",
        "mac_contract",
        "locality",
        "place_of_service",
        "diagnosis_codes",
        claim_number=pl.format(f"R{month:%y%m}{{}}{FIRST_VERSION}", codes),
        service_month=pl.lit(month.replace(day=1)),
        code_family=pl.lit(CODE_FAMILY),
        version=pl.lit(FIRST_VERSION, pl.Int64),
    )


def _line_control_number() -> pl.Expr:
    number = pl.col("line_number").cast(pl.String).str.zfill(2)
    return pl.concat_str("claim_number", number, separator="-")


def _evidence(lines: pl.DataFrame, funding: pl.DataFrame) -> DataFrame[Evidence]:
    """Follow each unit to the stretches that fund it."""
    carried = lines.select("patient_id", "code", "claim_number", "line_number", "unit_from", "unit_to")
    return Evidence.validate(
        funding.join(carried, on=["patient_id", "code"])
        .filter(pl.col("unit_number").is_between("unit_from", "unit_to"))
        .select(columns_of(Evidence))
        .sort("claim_number", "line_number", "unit_number", "started_at", "entry_id")
    )
