"""A new CMS release: CMS's layouts are read, wrong files are refused in one sentence, old files stay."""

import csv
import io
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from billing.pricing import fees, rates
from billing.reference.releases import BadRelease, Release, read_release, store_release
from billing.reference.tables import MissingReference, Reference, in_effect, load

Rows = list[list[str]]

# The rows of column names as CMS prints them; 2026 has one column more (the pricing indicator).
HEADER_2025 = """\
,, , ,,,,,,,,,,,,,,,,,,,,,,,,,NON-FACILITY,FACILITY,
,,,,NOT USED,,,,,,,,,,,,,,,,,,,,,PHYSICIAN,,DIAGNOSTIC,PE USED,PE USED,MP USED
,,,,FOR,,,NON-FAC,,FACILITY ,,,,,,,,,,,,,,,,SUPERVISION OF,,IMAGING,FOR OPPS,FOR OPPS,FOR OPPS
,,,STATUS,MEDICARE ,WORK,NON-FAC,NA,FACILITY,NA,MP,NON-FACILITY,FACILITY,PCTC,GLOB,PRE,INTRA,POST,MULT,BILAT,\
ASST,CO-,TEAM,ENDO,CONV,DIAGNOSTIC,CALCULATION,FAMILY,PAYMENT,PAYMENT,PAYMENT
HCPCS,MOD,DESCRIPTION,CODE,PAYMENT,RVU,PE RVU,INDICATOR,PE RVU,INDICATOR,RVU,TOTAL,TOTAL,IND,DAYS,OP,OP,OP,\
PROC,SURG,SURG,SURG,SURG,BASE,FACTOR,PROCEDURES,FLAG,INDICATOR,AMOUNT,AMOUNT,AMOUNT
"""
HEADER_2026 = """\
,, , ,,,,,,,,,,,,,,,,,,,,,,,,,,NON-FACILITY,FACILITY,
,,,,NOT USED,,,,,,,,,,,,,,,,,,,,,,PHYSICIAN,,DIAGNOSTIC,PE USED,PE USED,MP USED
,,,,FOR,,,NON-FAC,,FACILITY ,,,,,,,,,,,,,,,,,SUPERVISION OF,,IMAGING,FOR OPPS,FOR OPPS,FOR OPPS
,,,STATUS,MEDICARE ,WORK,NON-FAC,NA,FACILITY,NA,MP,NON-FACILITY,FACILITY,PCTC,GLOB,PRE,INTRA,POST,MULT,BILAT,\
ASST,CO-,TEAM,PRIC,ENDO,CONV,DIAGNOSTIC,CALCULATION,FAMILY,PAYMENT,PAYMENT,PAYMENT
HCPCS,MOD,DESCRIPTION,CODE,PAYMENT,RVU,PE RVU,INDICATOR,PE RVU,INDICATOR,RVU,TOTAL,TOTAL,IND,DAYS,OP,OP,OP,\
PROC,SURG,SURG,SURG,SURG,IND,BASE,FACTOR,PROCEDURES,FLAG,INDICATOR,AMOUNT,AMOUNT,AMOUNT
"""
GPCI_NAMES = [
    "Medicare Administrative Contractor (MAC)",
    "State",
    "Locality Number",
    "Locality Name",
    "{year} PW GPCI (with 1.0 Floor)***",
    "{year} PE GPCI",
    "{year} MP GPCI",
]
DESCRIPTION = "INVENTED TEXT THAT MUST NOT BE KEPT"


def _text(rows: Rows) -> str:
    page = io.StringIO()
    csv.writer(page).writerows(rows)
    return page.getvalue()


def _rvu_row(code: str, modifier: str, figures: list[str], factor: str, header: str) -> list[str]:
    """Lay out one data row; figures are status, work, non-facility PE, NA, facility PE, NA, malpractice."""
    status, *rest = figures
    start = [
        code,
        modifier,
        DESCRIPTION,
        status,
        "",
        *rest,
        "0.00",
        "0.00",
        "0",
        "XXX",
        *["0.00"] * 3,
        *"00000",
    ]
    # Behind the five surgery columns stand the pricing indicator (2026), the endoscopic base and the factor.
    return [*start, *(["9"] if "PRIC" in header else []), "", factor, "09", "0", "99", *["0.00"] * 3]


def _rvu_rows(year: int, header: str, factor: str) -> Rows:
    """Lay out the packaged figures of 2025 or 2026 as CMS's file of some year, among rows of other codes."""
    figures = in_effect(load().rvus, date(min(year, 2026), 7, 1)).sort("code")
    ours = [
        _rvu_row(
            row["code"],
            "",
            [
                row["status"],
                f"{row['work_rvu']:.2f}",
                f"{row['nonfacility_pe_rvu']:.2f}",
                "NA" if row["is_nonfacility_na"] else "",
                f"{row['facility_pe_rvu']:.2f}",
                "NA" if row["is_facility_na"] else "",
                f"{row['mp_rvu']:.2f}",
            ],
            factor,
            header,
        )
        for row in figures.to_dicts()
    ]
    other = ["A", "9.00", "9.00", "", "9.00", "", "9.00"]
    return [
        ["", "", f"{year} National Physician Fee Schedule Relative Value File January Release"],
        ["", "", f"CPT codes and descriptions only are copyright {year - 1}"],
        ["", "", "RELEASED 12/29/2025"],
        *csv.reader(io.StringIO(header)),
        _rvu_row("A0021", "", other, factor, header),
        *ours,
        _rvu_row("99457", "26", other, factor, header),
        _rvu_row("99499", "", other, factor, header),
        [""] * len(ours[0]),
    ]


def _gpci_rows(year: int) -> Rows:
    """Lay out the packaged indices as CMS's file of some year, footnotes and blank rows below."""
    places = in_effect(load().gpcis, date(min(year, 2026), 7, 1)).sort("mac_contract", "locality")
    return [
        [
            f"ADDENDUM E. FINAL CY {year} GEOGRAPHIC PRACTICE COST INDICES (GPCIs) "
            "BY STATE AND MEDICARE LOCALITY"
        ],
        [""] * 7,
        [name.format(year=year) for name in GPCI_NAMES],
        *(
            [contract, state, locality, f"{name}*" if state == "AK" else name, *(f"{g:.3f}" for g in indices)]
            for contract, locality, state, name, *indices in places.drop("source", "^effective.*$").rows()
        ),
        [""] * 7,
        ["* The work index of this state is fixed by law."],
    ]


class Cms:
    """A folder in which CMS's files of a year are made, changed and read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rvu(self, year: int, name: str = "PPRRVU_nonQPP.csv", factor: str = "33.4009") -> Rows:
        rows = _rvu_rows(year, HEADER_2025 if year == 2025 else HEADER_2026, factor)
        self.write(name, rows)
        return rows

    def gpci(self, year: int) -> Rows:
        rows = _gpci_rows(year)
        self.write("GPCI.csv", rows)
        return rows

    def write(self, name: str, rows: Rows) -> None:
        (self.folder / name).write_text(_text(rows), newline="")

    def read(self, year: int, *, rvu: str = "PPRRVU_nonQPP.csv", apm: str | None = None) -> Release:
        return read_release(
            self.folder / rvu, self.folder / "GPCI.csv", year, self.folder / apm if apm else None
        )


@pytest.fixture
def cms(tmp_path: Path) -> Cms:
    """Lay CMS's files of 2026 in a folder."""
    made = Cms(tmp_path / "cms")
    made.folder.mkdir()
    made.rvu(2026)
    made.gpci(2026)
    return made


def _figures(frame: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    return frame.drop("source").sort(key)


def _packaged(name: str, year: int) -> pl.DataFrame:
    table: pl.DataFrame = getattr(load(), name)
    return in_effect(table, date(year, 7, 1))


@pytest.mark.parametrize(("year", "factor"), [(2025, "32.3465"), (2026, "33.4009")])
def test_cms_files_give_exactly_the_packaged_tables(cms: Cms, year: int, factor: str) -> None:
    cms.rvu(year, factor=factor)
    cms.rvu(year, "PPRRVU_QPP.csv", "33.5675")
    cms.gpci(year)
    release = cms.read(year, apm="PPRRVU_QPP.csv" if year == 2026 else None)
    for name, key in (("rvus", ["code"]), ("gpcis", ["mac_contract", "locality"]), ("factors", ["factor"])):
        assert_frame_equal(
            _figures(getattr(release, name), key),
            _figures(_packaged(name, year), key),
            check_column_order=True,
        )
    assert release.notes == ()


def test_every_row_of_a_release_names_its_file_its_date_and_its_hash(cms: Cms) -> None:
    release = cms.read(2026)
    assert release.rvus["source"].unique().to_list() == [release.factors["source"][0]]
    assert (
        release.rvus["source"]
        .str.contains(r"^PPRRVU_nonQPP\.csv, CMS, released 2025-12-29, sha256 [0-9a-f]{12}$")
        .all()
    )
    assert release.gpcis["source"].str.contains(r"^GPCI\.csv, CMS, sha256 [0-9a-f]{12}$").all()


def test_the_factor_of_qualifying_participants_is_unknown_without_their_file_from_2026(cms: Cms) -> None:
    release = cms.read(2026)
    assert release.factors["factor"].to_list() == ["standard"]
    assert release.notes == ("Qualifying APM participants have no rate: give CMS's QPP file as --rvu-apm.",)


def test_before_2026_one_factor_is_for_everybody(cms: Cms) -> None:
    cms.rvu(2025, factor="32.3465")
    cms.gpci(2025)
    factors = cms.read(2025).factors.select("factor", "conversion_factor").rows()
    assert factors == [("standard", Decimal("32.3465")), ("apm", Decimal("32.3465"))]


def test_a_person_is_told_what_a_release_lacks(cms: Cms) -> None:
    cms.write("PPRRVU_nonQPP.csv", [row for row in cms.rvu(2026) if row[0] != "99470"])
    iowa, *_ = [row for row in cms.gpci(2026) if row[0] == "05102"]
    moved = [["16102", *row[1:]] if row == iowa else row for row in cms.gpci(2026)]
    cms.write("GPCI.csv", moved)
    assert cms.read(2026).notes == (
        "99470 is not in the relative value file: its lines will have no rate.",
        "Qualifying APM participants have no rate: give CMS's QPP file as --rvu-apm.",
        "05102 locality 00 of earlier years is not in the GPCI file.",
        "Contract 16102 is new: the table of MACs has no name for it.",
    )


def test_the_index_with_the_floor_is_taken_where_both_are_printed(cms: Cms) -> None:
    rows = [
        [*row[:4], "2026 PW GPCI (without 1.0 Floor)" if "PW" in row[4] else "0.500", *row[4:]]
        if len(row) == 7 and row[0]
        else row
        for row in cms.gpci(2026)
    ]
    cms.write("GPCI.csv", rows)
    release = cms.read(2026)
    assert _figures(release.gpcis, ["mac_contract"])["work_gpci"].min() == Decimal("1.000")


def test_leading_zeros_that_a_spreadsheet_ate_are_put_back(cms: Cms) -> None:
    before = cms.read(2026).gpcis
    eaten = [
        [row[0].lstrip("0"), row[1], row[2].lstrip("0") or "0", *row[3:]] if row[0].isdigit() else row
        for row in cms.gpci(2026)
    ]
    cms.write("GPCI.csv", eaten)
    assert_frame_equal(cms.read(2026).gpcis.drop("source"), before.drop("source"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252"])
def test_byte_order_marks_and_windows_letters_do_no_harm(cms: Cms, encoding: str) -> None:
    before = cms.read(2026)
    text = _text(cms.rvu(2026)).replace(DESCRIPTION, "É “INVENTED”")
    (cms.folder / "PPRRVU_nonQPP.csv").write_bytes(text.replace("\r\n", "\n").encode(encoding))
    assert_frame_equal(cms.read(2026).rvus.drop("source"), before.rvus.drop("source"))


def _change(cms: Cms, name: str, change: Callable[[Rows], Rows]) -> None:
    cms.write(name, change(cms.gpci(2026) if name == "GPCI.csv" else cms.rvu(2026)))


def _cell(code: str, place: int, text: str) -> Callable[[Rows], Rows]:
    """Make a change of one cell in the first row that starts with a code."""

    def change(rows: Rows) -> Rows:
        row = next(row for row in rows if row[0] == code)
        row[place] = text
        return rows

    return change


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("PPRRVU_nonQPP.csv", lambda rows: rows[:3], "is not the CMS file expected here: no column code, m"),
        ("PPRRVU_nonQPP.csv", lambda rows: rows[:8], "has no row for any code we bill (99091, 99445, "),
        ("PPRRVU_nonQPP.csv", lambda rows: [*rows, rows[-4]], "has 99470 more than once."),
        ("PPRRVU_nonQPP.csv", _cell("99457", 5, "n/a"), ": work_rvu of 99457 is not a number."),
        ("PPRRVU_nonQPP.csv", _cell("99457", 8, ""), ": facility_pe_rvu of 99457 is not a number."),
        ("PPRRVU_nonQPP.csv", _cell("99457", 10, "-0.04"), ": mp_rvu of 99457 is not a number."),
        ("PPRRVU_nonQPP.csv", _cell("99457", 25, "33.5675"), "has more than one conversion factor"),
        ("PPRRVU_nonQPP.csv", lambda _: _gpci_rows(2026), "is not the CMS file expected here: no column"),
        ("PPRRVU_nonQPP.csv", lambda _: _rvu_rows(2025, HEADER_2025, "1"), "is of 2025, not of 2026."),
        (
            "GPCI.csv",
            lambda _: _rvu_rows(2026, HEADER_2026, "1"),
            "is not the CMS file expected here: no column",
        ),
        ("GPCI.csv", lambda _: _gpci_rows(2027), "is of 2027, not of 2026."),
        ("GPCI.csv", lambda rows: rows[:3], "has no locality under its column names."),
        ("GPCI.csv", lambda rows: [*rows, rows[4]], "has 01112 locality 09 more than once."),
        ("GPCI.csv", _cell("05102", 5, "O.915"), ": pe_gpci of 05102 locality 00 is not a number."),
        ("GPCI.csv", lambda _: [], "is not the CMS file expected here: no column mac_contract, locality, "),
    ],
)
def test_a_wrong_file_is_refused_by_name_with_one_sentence(
    cms: Cms, name: str, change: Callable[[Rows], Rows], sentence: str
) -> None:
    _change(cms, name, change)
    with pytest.raises(BadRelease) as refusal:
        cms.read(2026)
    assert f"{name}{'' if sentence.startswith(':') else ' '}{sentence}" in str(refusal.value)
    assert str(refusal.value).count("\n") == 0


def test_a_file_that_is_absent_or_no_text_is_refused(cms: Cms) -> None:
    with pytest.raises(BadRelease, match=r"^gone\.csv cannot be read: No such file or directory\.$"):
        cms.read(2026, rvu="gone.csv")
    (cms.folder / "book.csv").write_bytes(b"PK\x03\x04" + bytes(range(256)) * 2000)
    with pytest.raises(BadRelease, match=r"^book\.csv is not "):
        cms.read(2026, rvu="book.csv")


def test_the_two_files_of_a_release_must_be_its_two_halves(cms: Cms) -> None:
    cms.rvu(2026, "PPRRVU_QPP.csv", "33.5675")
    with pytest.raises(
        BadRelease, match=r"QPP\.csv is for qualifying APM participants only: give it as --rvu-apm"
    ):
        cms.read(2026, rvu="PPRRVU_QPP.csv")
    cms.rvu(2026, "lower.csv", "33.0000")
    with pytest.raises(BadRelease, match=r"lower\.csv has not the higher factor"):
        cms.read(2026, apm="lower.csv")
    with pytest.raises(BadRelease, match="has not the higher factor"):
        cms.read(2026, apm="PPRRVU_nonQPP.csv")
    cms.write("other.csv", _cell("99457", 5, "0.62")(cms.rvu(2026, "other.csv", "33.5675")))
    with pytest.raises(BadRelease, match=r"other\.csv and PPRRVU_nonQPP\.csv have different relative values"):
        cms.read(2026, apm="other.csv")


def _loaded(cms: Cms, year: int, overlay: Path, factor: str) -> Reference:
    cms.rvu(year, factor=factor)
    cms.gpci(year)
    store_release(cms.read(year), overlay)
    return load(overlay)


def test_a_loaded_year_can_be_priced_and_the_other_years_stay_as_they_were(cms: Cms, tmp_path: Path) -> None:
    overlay = tmp_path / "home" / "reference"
    with pytest.raises(MissingReference):
        rates(load(overlay), date(2027, 1, 1))
    loaded = _loaded(cms, 2027, overlay, "34.0000")
    shown = rates(loaded, date(2027, 1, 1), code="99457", mac="05102")
    # (0.61 + 0.90 x 0.915 + 0.04 x 0.397) x 34.0000 = 49.278...
    assert shown.select("factor", "setting", "allowed").row(0) == (
        "standard",
        "nonfacility",
        Decimal("49.28"),
    )
    assert shown["factor"].unique().to_list() == ["standard"]
    for day in (date(2025, 12, 31), date(2026, 12, 31)):
        assert_frame_equal(fees(loaded, day), fees(load(), day))


def test_a_loaded_release_replaces_all_packaged_rows_of_its_year(cms: Cms, tmp_path: Path) -> None:
    loaded = _loaded(cms, 2026, tmp_path / "reference", "40.0000")
    assert fees(loaded, date(2026, 7, 1))["factor"].unique().to_list() == ["standard"]
    for table in (loaded.rvus, loaded.gpcis, loaded.factors):
        rows = in_effect(table, date(2026, 7, 1))
        assert rows["source"].str.contains("sha256").all()
    assert loaded.factors.height == 3  # two of 2025, one of 2026


def test_the_last_loaded_release_of_a_year_counts_and_the_earlier_ones_stay(cms: Cms, tmp_path: Path) -> None:
    overlay = tmp_path / "reference"
    first = _loaded(cms, 2027, overlay, "34.0000")
    folder = next(overlay.iterdir())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    second = _loaded(cms, 2027, overlay, "35.0000")
    third = _loaded(cms, 2027, overlay, "34.0000")
    factor = [
        r.factors.filter(pl.col("effective_from") >= date(2027, 1, 1))["conversion_factor"].to_list()
        for r in (first, second, third)
    ]
    assert factor == [[Decimal(34)], [Decimal(35)], [Decimal(34)]]
    assert [path.name[:8] for path in sorted(overlay.iterdir())] == ["2027-001", "2027-002", "2027-003"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_storing_the_release_that_already_counts_changes_nothing(cms: Cms, tmp_path: Path) -> None:
    release = cms.read(2026)
    assert store_release(release, tmp_path / "reference") == store_release(release, tmp_path / "reference")
    assert len(list((tmp_path / "reference").iterdir())) == 1


def test_a_half_written_release_is_not_seen(cms: Cms, tmp_path: Path) -> None:
    overlay = tmp_path / "reference"
    (overlay / ".2027-001-0123456789ab-1").mkdir(parents=True)
    assert load(overlay) is load(overlay)
    assert load(overlay).factors.equals(load().factors)
    store_release(cms.read(2026), overlay)
    assert sorted(path.name[:8] for path in overlay.iterdir()) == [".2027-00", "2026-001"]


def test_nothing_of_cms_text_is_kept_but_codes_numbers_and_places(cms: Cms, tmp_path: Path) -> None:
    folder = store_release(cms.read(2026), tmp_path / "reference")
    assert sorted(path.name for path in folder.iterdir()) == ["factors.csv", "gpcis.csv", "rvus.csv"]
    kept = "".join(path.read_text() for path in folder.iterdir())
    assert DESCRIPTION not in kept
    assert "99499" not in kept
    assert "99457" in kept
