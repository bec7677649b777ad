"""The reference tables keep their promises: dated, sourced, whole, and right on both sides of a change."""

import re
from dataclasses import fields
from datetime import date

import polars as pl
import pytest

from billing.reference.tables import PACKAGED, Reference, covers, in_effect, load

KEYS = {
    "rvus": ["code"],
    "gpcis": ["mac_contract", "locality"],
    "factors": ["factor"],
    "macs": ["mac_contract"],
    "places_of_service": ["place_of_service"],
    "ladder": ["code"],
    "supply": ["code"],
    "add_ons": ["primary_code", "add_on_code"],
    "caps": ["payer_kind", "code"],
    "filing": ["payer_kind"],
    "diagnoses": ["code"],
}
LISTS = {
    "carc": ["code"],
    "rarc": ["code"],
    "group_codes": ["code"],
    "claim_status_category": ["code"],
    "claim_status": ["code"],
    "plb": ["code"],
    "ack_999": ["element", "code"],
}
DAY_ONE, LAST_DAY = date(2026, 1, 1), date(2025, 12, 31)


def _table(name: str) -> pl.DataFrame:
    table: pl.DataFrame = getattr(load(), name)
    return table


def _codes(name: str, on: date) -> set[str]:
    return set(in_effect(_table(name), on)["code"])


def test_every_table_is_judged_here() -> None:
    assert KEYS.keys() | LISTS.keys() == {field.name for field in fields(Reference)}


@pytest.mark.parametrize("name", KEYS | LISTS)
def test_every_row_has_a_source(name: str) -> None:
    sources = _table(name)["source"]
    assert sources.len() > 0
    assert sources.fill_null("").str.strip_chars().str.len_chars().min() > 0  # type: ignore[operator]


@pytest.mark.parametrize("name", LISTS)
def test_a_code_stands_once_in_its_list(name: str) -> None:
    assert not _table(name).select(LISTS[name]).is_duplicated().any()
    assert not _table(name).select(LISTS[name]).null_count().sum_horizontal().item()


@pytest.mark.parametrize("name", KEYS)
def test_the_dates_of_a_key_leave_no_gap_and_no_overlap(name: str) -> None:
    rows = _table(name).sort(*KEYS[name], "effective_from")
    assert rows["effective_from"].null_count() == 0
    assert rows.filter(pl.col("effective_to") < pl.col("effective_from")).is_empty()
    follows = pl.col("effective_from").shift(-1).over(KEYS[name])
    broken = rows.filter(
        follows.is_not_null()
        & ~(follows == pl.col("effective_to") + pl.duration(days=1)).fill_null(value=False)
    )
    assert broken.is_empty()


def test_a_fee_schedule_row_lives_in_one_year_so_that_a_release_can_replace_it() -> None:
    for name in ("rvus", "gpcis", "factors"):
        year = pl.col("effective_from").dt.year()
        assert _table(name).filter(year.ne_missing(pl.col("effective_to").dt.year())).is_empty()


def test_no_figure_of_the_fee_schedule_is_missing_or_negative() -> None:
    for name in ("rvus", "gpcis", "factors"):
        numbers = _table(name).select(pl.selectors.decimal())
        assert numbers.width > 0
        assert numbers.null_count().sum_horizontal().item() == 0
        assert numbers.select(pl.all().min() >= 0).row(0) == (True,) * numbers.width


@pytest.mark.parametrize("year", [2025, 2026])
def test_every_locality_of_a_year_belongs_to_a_named_contractor_and_every_contractor_has_one(
    year: int,
) -> None:
    places = in_effect(_table("gpcis"), date(year, 7, 1))
    assert places.height == 109
    assert places["mac_contract"].str.contains(r"^\d{5}$").all()
    assert places["locality"].str.contains(r"^\d{2}$").all()
    assert set(places["mac_contract"]) == set(_table("macs")["mac_contract"])


def test_both_ends_of_a_row_are_in_force_and_the_days_around_it_are_not() -> None:
    table = pl.DataFrame(
        {
            "row": ["closed", "open"],
            "effective_from": [date(2026, 2, 1), date(2026, 2, 2)],
            "effective_to": [date(2026, 2, 28), None],
        }
    )
    found = {
        day: in_effect(table, day)["row"].to_list()
        for day in (date(2026, 1, 31), date(2026, 2, 1), date(2026, 2, 28), date(2026, 3, 1))
    }
    assert list(found.values()) == [[], ["closed"], ["closed", "open"], ["open"]]
    by_column = table.with_columns(day=date(2026, 3, 1)).filter(covers(pl.col("day")))
    assert by_column["row"].to_list() == ["open"]


def test_the_short_code_is_on_the_ladder_from_2026() -> None:
    assert _codes("ladder", LAST_DAY) == {"99457", "99458"}
    assert _codes("ladder", DAY_ONE) == {"99457", "99458", "99470"}


def test_the_base_codes_of_the_ladder_share_no_minute() -> None:
    for day in (LAST_DAY, DAY_ONE):
        base = in_effect(_table("ladder"), day).filter(~pl.col("is_add_on")).sort("minutes_from")
        ends = base["minutes_to"].to_list()
        assert ends == [*base["minutes_from"].to_list()[1:], None]
        assert base.filter(pl.col("unit_minutes") > pl.col("minutes_from")).is_empty()


def test_the_short_window_of_device_data_is_paid_from_2026() -> None:
    assert _codes("supply", LAST_DAY) == {"99454"}
    assert _codes("supply", DAY_ONE) == {"99445", "99454"}
    windows = in_effect(_table("supply"), DAY_ONE).sort("days_from").select("days_from", "days_to").rows()
    assert windows == [(2, 15), (16, 30)]


def test_the_fee_schedule_changes_with_the_year() -> None:
    assert _codes("rvus", LAST_DAY) == {"99091", "99453", "99454", "99457", "99458"}
    assert _codes("rvus", DAY_ONE) == {"99091", "99445", "99453", "99454", "99457", "99458", "99470"}
    factors = {
        day: {
            name: f"{value:.4f}"
            for name, value in in_effect(_table("factors"), day).select("factor", "conversion_factor").rows()
        }
        for day in (LAST_DAY, DAY_ONE)
    }
    assert factors[LAST_DAY] == {"standard": "32.3465", "apm": "32.3465"}
    assert factors[DAY_ONE] == {"standard": "33.4009", "apm": "33.5675"}


def test_medicare_pays_three_further_twenties_a_month_since_july_2023() -> None:
    medicare = pl.col("payer_kind").is_in(["medicare_part_b", "medicare_advantage"])
    caps = _table("caps").filter(medicare, pl.col("code") == "99458")
    assert in_effect(caps, date(2023, 6, 30)).is_empty()
    assert in_effect(caps, date(2023, 7, 1))["units"].to_list() == [3, 3]


def test_every_kind_of_payer_has_a_cap_that_fits_a_claim() -> None:
    caps = in_effect(_table("caps"), DAY_ONE)
    assert set(caps["payer_kind"]) == {"medicare_part_b", "medicare_advantage", "commercial", "medicaid"}
    assert caps.filter(pl.col("units") + 1 > 50).is_empty()


def test_part_b_is_filed_within_a_calendar_year_of_the_service() -> None:
    limit = in_effect(_table("filing"), DAY_ONE)
    assert limit.select("payer_kind", "limit_months").rows() == [("medicare_part_b", 12)]


def test_a_place_of_service_is_paid_on_one_side_of_the_fee_schedule() -> None:
    places = dict(_table("places_of_service").select("place_of_service", "setting").rows())
    assert set(places.values()) == {"facility", "nonfacility"}
    assert [places[code] for code in ("11", "12", "10", "02", "19", "21", "22", "31", "32")] == [
        *["nonfacility"] * 3,
        *["facility"] * 5,
        "nonfacility",
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the package reads its files the old way
def test_the_diagnoses_are_the_billable_codes_of_the_release_they_name() -> None:
    import simple_icd_10_cm as icd

    shape = re.compile(r"[A-Z][0-9A-Z]{2,6}")  # keeps chapters (1) and blocks (A00-A09) out
    billable = {c for c in icd.get_all_codes(with_dots=False) if shape.fullmatch(c) and icd.is_leaf(c)}
    assert set(_table("diagnoses")["code"]) == billable
    assert len(billable) == 74_719  # 74,260 of fiscal year 2025, 487 new, 28 deleted


def test_a_category_is_no_diagnosis_and_a_code_that_is_also_a_block_is_one() -> None:
    codes = set(_table("diagnoses")["code"])
    assert {"I10", "E119", "I5022", "J449", "R99", "B20", "Z66"} <= codes
    assert not {"E11", "I50", "E668", "I10X", "Z9999", "i10", "E11.9"} & codes


def test_no_table_carries_a_descriptor() -> None:
    assert "description" not in _table("rvus").columns
    assert _table("diagnoses").columns == ["code", "source", "effective_from", "effective_to"]


def test_the_tables_are_read_once() -> None:
    assert load() is load()


def test_sources_names_every_table() -> None:
    page = (PACKAGED / "SOURCES.md").read_text()
    assert [name for name in KEYS | LISTS if f"{name}.csv" not in page] == []
