"""What a unit brings: against hand-worked cases, CMS's own amounts, and every golden fee we could find."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from billing.pricing import UnknownRate, fees, price_lines, rates
from billing.reference.tables import RATIO, MissingReference, Reference, load
from schemas.columns import MONEY

CASES = Path(__file__).parent / "cases"
SHARED = Path(__file__).parents[3] / "shared" / "reference"
ESTIMATES = ["allowed_estimate", "medicare_estimate", "patient_estimate"]
OCTOBER = date(2026, 10, 31)


def _national(reference: Reference) -> Reference:
    """Add a place whose indices are all 1: there the fee is the national amount."""
    one = pl.lit(1).cast(RATIO)
    national = reference.gpcis.group_by("effective_from", "effective_to").agg(
        pl.lit("NATIONAL").alias("mac_contract"),
        pl.lit("00").alias("locality"),
        pl.lit("US").alias("state"),
        pl.lit("NATIONAL").alias("locality_name"),
        one.alias("work_gpci"),
        one.alias("pe_gpci"),
        one.alias("mp_gpci"),
        pl.lit("test").alias("source"),
    )
    return replace(reference, gpcis=pl.concat([reference.gpcis, national.select(reference.gpcis.columns)]))


def _one_fee(fee: str) -> Reference:
    """Make tables in which 99457 is worth one amount in one place, before rounding."""
    reference = load()
    rvus = (
        reference.rvus.filter(pl.col("code") == "99457", pl.col("effective_from") == date(2026, 1, 1))
        .with_columns(pl.lit(fee).cast(RATIO).alias("work_rvu"))
        .with_columns(pl.lit(0).cast(RATIO).alias(c) for c in ("nonfacility_pe_rvu", "mp_rvu"))
    )
    factors = reference.factors.with_columns(conversion_factor=pl.lit(1).cast(RATIO))
    return _national(replace(reference, rvus=rvus, factors=factors))


def _lines(**columns: object) -> pl.DataFrame:
    """Make one line of 99457 in Iowa in October 2026, with the given columns changed."""
    line: dict[str, object] = {
        "code": "99457",
        "units": 1,
        "charge": Decimal("150.00"),
        "date_of_service": date(2026, 10, 20),
        "place_of_service": "11",
        "mac_contract": "05102",
        "locality": "00",
        "qualifying_apm": False,
        "participating": True,
    }
    return pl.DataFrame([line | columns]).with_columns(pl.col("charge").cast(MONEY))


def _shared(name: str) -> pl.DataFrame:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no {name} beside this clone: its figures are NOT checked here")
    return pl.read_csv(path, infer_schema=False)


def test_the_hand_worked_cases_come_out_to_the_cent() -> None:
    money = dict.fromkeys(("charge", "allowed", "medicare", "patient"), MONEY)
    types = money | {"units": pl.Int64(), "qualifying_apm": pl.Boolean(), "participating": pl.Boolean()}
    cases = pl.read_csv(
        CASES / "prices.csv",
        infer_schema=False,
        schema_overrides=types | {"date_of_service": pl.Date()},
    )
    priced = price_lines(cases, _national(load()))
    wrong = priced.filter(
        ~pl.all_horizontal(
            pl.col(column).eq_missing(pl.col(f"{column}_estimate"))
            for column in ("allowed", "medicare", "patient")
        )
    )
    assert cases.height == 32
    assert wrong.select("story", "allowed", "medicare", "patient", *ESTIMATES).rows() == []


def test_the_formula_gives_cms_own_payment_amounts() -> None:
    types = dict.fromkeys(("work_rvu", "pe_rvu", "mp_rvu", "work_gpci", "pe_gpci", "mp_gpci"), RATIO)
    cases = pl.read_csv(CASES / "cms_amounts.csv", infer_schema=False, schema_overrides=types)
    reference = load()
    # Each amount gets a code and a place of its own; the crossing pairs are dropped again.
    rows = cases.with_row_index("row").with_columns(
        key=pl.format("{}", "row"), effective_from=date(2025, 1, 1), effective_to=date(2025, 12, 31)
    )
    made = replace(
        reference,
        rvus=rows.with_columns(
            code="key",
            status=pl.lit("A"),
            nonfacility_pe_rvu="pe_rvu",
            facility_pe_rvu="pe_rvu",
            is_nonfacility_na=pl.lit(value=False),
            is_facility_na=pl.lit(value=False),
        ).select(reference.rvus.columns),
        gpcis=rows.with_columns(
            mac_contract="key", state=pl.lit("XX"), locality_name=pl.lit("X"), locality=pl.lit("00")
        ).select(reference.gpcis.columns),
    )
    computed = fees(made, date(2025, 7, 1)).filter(
        pl.col("code") == pl.col("mac_contract"),
        pl.col("factor") == "standard",
        pl.col("setting") == "nonfacility",
    )
    judged = rows.join(computed, left_on="key", right_on="code")
    assert judged.height == cases.height == 49
    assert judged.filter(pl.col("fee") != pl.col("amount").cast(MONEY)).rows() == []


def test_every_golden_fee_is_reproduced_to_the_cent() -> None:
    golden = _shared("golden_fees.csv")
    reference = _national(load())
    rvus = pl.concat(_all_rvus(year) for year in (2025, 2026)).select(reference.rvus.columns)
    everywhere = replace(reference, rvus=rvus)
    computed = pl.concat(
        fees(everywhere, date(year, 7, 1)).with_columns(year=pl.lit(str(year))) for year in (2025, 2026)
    ).filter(pl.col("factor") == "standard")
    judged = golden.select(
        "year",
        "amount",
        mac_contract="contract_number",
        code=pl.concat_str("hcpcs", pl.col("modifier").fill_null("")),
        locality=pl.col("locality").fill_null("00"),
        setting=pl.col("setting").replace_strict({"nonfac": "nonfacility", "fac": "facility"}),
    ).join(computed, on=["year", "code", "mac_contract", "locality", "setting"], how="left")
    assert judged.height == 1754
    assert judged.filter(~pl.col("fee").eq_missing(pl.col("amount").cast(MONEY))).rows() == []


def _all_rvus(year: int) -> pl.DataFrame:
    """Read every code of a shared RVU file, also those we do not bill; a modifier joins the code.

    CMS's payment file prints an amount even where a setting is marked NA, so the marks are left out.
    """
    figures = ("work_rvu", "nonfac_pe_rvu", "fac_pe_rvu", "mp_rvu")
    return (
        _shared(f"pfs_rvu_{year}.csv")
        .with_columns(
            pl.col(figures).cast(RATIO),
            code=pl.concat_str("hcpcs", pl.col("modifier").fill_null("")),
            is_nonfacility_na=pl.lit(value=False),
            is_facility_na=pl.lit(value=False),
            source=pl.lit("CMS"),
            effective_from=date(year, 1, 1),
            effective_to=date(year, 12, 31),
        )
        .rename(
            {
                "status_code": "status",
                "nonfac_pe_rvu": "nonfacility_pe_rvu",
                "fac_pe_rvu": "facility_pe_rvu",
            }
        )
    )


def test_our_rates_agree_with_an_earlier_computation_in_every_locality_setting_and_factor() -> None:
    theirs = (
        _shared("computed_fees_2026.csv")
        .unpivot(
            index=["hcpcs", "contract_number", "locality"],
            on=["nonfac_non_qp", "fac_non_qp", "nonfac_qp", "fac_qp"],
            value_name="amount",
        )
        .drop_nulls("amount")
        .select(
            "amount",
            code="hcpcs",
            mac_contract="contract_number",
            locality=pl.col("locality").fill_null("00"),
            setting=pl.when(pl.col("variable").str.starts_with("nonfac"))
            .then(pl.lit("nonfacility"))
            .otherwise(pl.lit("facility")),
            factor=pl.when(pl.col("variable").str.contains("non_qp"))
            .then(pl.lit("standard"))
            .otherwise(pl.lit("apm")),
        )
    )
    ours = fees(_national(load()), OCTOBER)
    judged = ours.join(theirs, on=["code", "mac_contract", "locality", "setting", "factor"], how="left")
    assert judged.height == 110 * (4 * 2 + 3) * 2  # four codes in both settings, three in one
    assert judged.filter(~pl.col("fee").eq_missing(pl.col("amount").cast(MONEY))).rows() == []
    assert (
        theirs.join(judged, on=["code", "mac_contract", "locality", "setting", "factor"], how="anti")
        .filter(pl.col("code").is_in(ours["code"].implode()))
        .rows()
        == []
    )


@pytest.mark.parametrize(
    ("exact", "participating", "allowed", "medicare", "patient"),
    [
        ("10.005", True, "10.01", "7.85", "2.00"),  # half a cent goes up
        ("10.0049999", True, "10.00", "7.84", "2.00"),  # and less than half does not
        ("51.90", False, "49.31", "38.66", "9.86"),  # 49.305 goes up; half-even would stay at 49.30
        ("51.56", True, "51.56", "40.42", "10.31"),  # sequestration 0.825 goes up to 0.83
    ],
)
def test_half_a_cent_is_rounded_up_at_every_step(
    exact: str, participating: bool, allowed: str, medicare: str, patient: str
) -> None:
    line = _lines(mac_contract="NATIONAL", participating=participating)
    priced = price_lines(line, _one_fee(exact))
    assert priced.select(ESTIMATES).row(0) == (Decimal(allowed), Decimal(medicare), Decimal(patient))


def test_lines_keep_their_order_their_columns_and_their_number() -> None:
    lines = pl.concat([_lines(), _lines(mac_contract=None), _lines(code="99458"), _lines()]).with_columns(
        claim_number=pl.Series(["C", "A", "D", "B"])
    )
    priced = price_lines(lines, load())
    assert priced["claim_number"].to_list() == ["C", "A", "D", "B"]
    assert priced.columns == [*lines.columns, *ESTIMATES]
    assert [priced.schema[c] for c in ESTIMATES] == [MONEY] * 3
    assert priced["allowed_estimate"].is_null().to_list() == [False, True, False, False]
    assert price_lines(lines.clear(), load()).schema == priced.schema


def test_a_missing_charge_does_not_hide_that_there_is_a_rate() -> None:
    priced = price_lines(_lines(charge=None), load())
    assert priced["allowed_estimate"].to_list() == [Decimal("48.41")]


def test_a_code_that_a_contractor_prices_has_no_rate() -> None:
    reference = load()
    contractor_priced = replace(reference, rvus=reference.rvus.with_columns(status=pl.lit("C")))
    assert fees(contractor_priced, OCTOBER).is_empty()
    assert price_lines(_lines(), contractor_priced)["allowed_estimate"].to_list() == [None]


def test_without_the_apm_factor_only_qualifying_participants_have_no_rate() -> None:
    reference = load()
    standard = replace(reference, factors=reference.factors.filter(pl.col("factor") == "standard"))
    priced = price_lines(pl.concat([_lines(), _lines(qualifying_apm=True)]), standard)
    assert priced["allowed_estimate"].to_list() == [Decimal("48.41"), None]


def test_december_and_january_are_priced_side_by_side_and_each_by_its_own_year() -> None:
    lines = pl.concat([_lines(date_of_service=date(2025, 12, 31)), _lines(date_of_service=date(2026, 1, 1))])
    together = price_lines(lines, load())["allowed_estimate"].to_list()
    apart = [price_lines(lines[i : i + 1], load())["allowed_estimate"].item() for i in (0, 1)]
    assert together == apart
    assert together[0] != together[1]


def _with_a_change_in_march() -> Reference:
    """Let the factor change on 9 March 2026, as it did on 9 March 2024."""
    reference = load()
    before = reference.factors.filter(pl.col("effective_from") == date(2026, 1, 1))
    after = before.with_columns(effective_from=date(2026, 3, 9), conversion_factor=pl.lit("40").cast(RATIO))
    before = before.with_columns(effective_to=pl.lit(date(2026, 3, 8)))
    return _national(replace(reference, factors=pl.concat([before, after])))


def test_a_change_inside_a_month_takes_effect_on_its_day() -> None:
    days = [date(2026, 3, 8), date(2026, 3, 9)]
    lines = pl.concat(_lines(mac_contract="NATIONAL", date_of_service=day) for day in days)
    priced = price_lines(lines, _with_a_change_in_march())
    assert priced["allowed_estimate"].to_list() == [Decimal("51.77"), Decimal("62.00")]


def test_rates_of_a_month_are_those_of_its_last_day() -> None:
    for day in (date(2026, 3, 1), date(2026, 3, 31)):
        shown = rates(_with_a_change_in_march(), day, code="99457", mac="05102")
        assert shown["allowed"].max() == Decimal("57.98")


@pytest.mark.parametrize("day", [date(2024, 12, 31), date(2027, 1, 1)])
def test_a_year_without_a_loaded_fee_schedule_is_refused_with_the_way_to_load_it(day: date) -> None:
    sentence = (
        f"No physician fee schedule is loaded for {day.year}: load CMS's release with "
        f"`rpmclaims reference load --rvu … --gpci … --year {day.year}`."
    )
    with pytest.raises(MissingReference, match="^" + sentence.replace(".", r"\.") + "$"):
        price_lines(pl.concat([_lines(), _lines(date_of_service=day)]), load())
    with pytest.raises(MissingReference):
        fees(load(), day)
    with pytest.raises(MissingReference):
        rates(load(), day)


def test_rates_show_the_columns_of_the_contract_and_no_row_without_a_rate() -> None:
    shown = rates(load(), date(2026, 10, 1))
    assert shown.columns == [
        "code",
        "mac_contract",
        "jurisdiction",
        "mac_name",
        "state",
        "locality",
        "locality_name",
        "setting",
        "factor",
        "allowed",
        "medicare",
        "patient",
    ]
    assert shown.null_count().sum_horizontal().item() == 0
    assert shown.height == 109 * (4 * 2 + 3) * 2
    iowa = shown.filter(pl.col("code") == "99457", pl.col("mac_contract") == "05102")
    assert iowa.drop("mac_name").rows() == [
        ("99457", "05102", "J5", "IA", "00", "IOWA", setting, factor, *map(Decimal, money))
        for setting, factor, *money in (
            ("nonfacility", "standard", "48.41", "37.96", "9.68"),
            ("nonfacility", "apm", "48.65", "38.14", "9.73"),
            ("facility", "standard", "25.18", "19.74", "5.04"),
            ("facility", "apm", "25.31", "19.84", "5.06"),
        )
    ]


@pytest.mark.parametrize(
    ("mac", "contracts"),
    [
        ("J5", {"05102", "05202", "05302", "05402"}),
        ("5", {"05102", "05202", "05302", "05402"}),
        ("jn", {"09102", "09202"}),
        ("N", {"09102", "09202"}),
        ("15", {"15102", "15202"}),
        ("05102", {"05102"}),
        ("5102", {"05102"}),
        ("first coast", {"09102", "09202"}),
    ],
)
def test_a_contractor_goes_by_number_jurisdiction_or_name(mac: str, contracts: set[str]) -> None:
    shown = rates(load(), date(2026, 10, 1), mac=mac)
    assert set(shown["mac_contract"]) == contracts


def test_an_unknown_contractor_or_code_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(UnknownRate, match=r"'JX'; jurisdictions: J15, J5, .*names: CGS"):
        rates(load(), date(2026, 10, 1), mac="JX")
    with pytest.raises(UnknownRate, match="contractor"):
        rates(load(), date(2026, 10, 1), mac=" ")
    with pytest.raises(UnknownRate, match=r"no rate for 99470 in 2025-10; rated codes: 99091, 99453"):
        rates(load(), date(2025, 10, 1), code="99470")
