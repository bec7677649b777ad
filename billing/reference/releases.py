"""A new fee schedule: CMS's own PPRRVU and GPCI files, read, judged and kept beside the packaged tables.

The command `rpmclaims reference load` reads a release here and stores it in the overlay folder, from
which `billing.reference.tables.load` takes it. Of CMS's text nothing is kept but codes, numbers and
place names: no descriptors. Pricing does not belong here.
"""

import csv
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final

import polars as pl

from billing.reference.tables import FEE_SCHEDULE, in_effect, load, releases_by_year

# From this year on CMS sets one conversion factor for qualifying APM participants and one for all others.
FIRST_YEAR_OF_TWO_FACTORS: Final = 2026

# CMS stacks a column's name over several rows, differently from year to year; these match the whole stack.
# The first column may also carry the title of the file.
_RVU_COLUMNS: Final = {
    "code": r"(.* )?HCPCS",
    "modifier": r"MOD(IFIER)?",
    "status": r"STATUS( CODE)?",
    "work_rvu": r"WORK RVU",
    "nonfacility_pe_rvu": r"NON-?FAC(ILITY)? PE RVU",
    "is_nonfacility_na": r"NON-?FAC(ILITY)? NA INDICATOR",
    "facility_pe_rvu": r"FAC(ILITY)? PE RVU",
    "is_facility_na": r"FAC(ILITY)? NA INDICATOR",
    "mp_rvu": r"MP RVU",
    "conversion_factor": r"CONV(ERSION)? FACTOR",
}
# Some releases print the work index twice; the one with the statutory floor of 1.0 is the one that pays.
_GPCI_COLUMNS: Final = {
    "mac_contract": r"(.* )?(MEDICARE ADMIN\w* CONTRACTOR|MAC|CONTRACTOR)( \(MAC\)| NUMBER)?",
    "locality": r"LOCALITY( NUMBER| CODE)?",
    "state": r"STATE",
    "locality_name": r"LOCALITY NAME",
    "work_gpci": r"(\d{4} )?PW GPCI( \(WITH 1\.0 FLOOR\))?",
    "pe_gpci": r"(\d{4} )?PE GPCI",
    "mp_gpci": r"(\d{4} )?MP GPCI",
}
_TITLE_ROWS: Final = 30  # the column names stand within the first rows
_YEAR: Final = re.compile(r"\b(20\d\d)(?= NATIONAL PHYSICIAN FEE SCHEDULE| P[WE] GPCI)|(?<=\bCY )20\d\d\b")
_RELEASED: Final = re.compile(r"RELEASED (\d\d)/(\d\d)/(\d{4})")


class BadRelease(ValueError):
    """The files are not the release that was named."""


@dataclass(frozen=True)
class Release:
    """One CMS release, cut down to the codes we bill; the frames have the columns of the tables."""

    year: int
    sha256: str  # of the files it was read from, in the order given
    rvus: pl.DataFrame
    gpcis: pl.DataFrame
    factors: pl.DataFrame
    notes: tuple[str, ...]  # what a person should know although the release is good


def read_release(rvu: Path, gpci: Path, year: int, rvu_apm: Path | None = None) -> Release:
    """Read one CMS release from its relative value file and its GPCI file.

    From 2026 on the factor for qualifying APM participants stands in a file of its own (QPP): without
    `rvu_apm` they get no rate. Before 2026 there was one factor for everybody.

    Raises:
        BadRelease: If a file is not CMS's, is of another year, or contradicts itself or the other file.
    """
    if re.search(r"(?<!non)qpp", rvu.name, re.IGNORECASE):
        raise BadRelease(f"{rvu.name} is for qualifying APM participants only: give it as --rvu-apm.")
    values = {"standard": _relative_values(rvu, year)}
    if rvu_apm is not None:
        values["apm"] = _relative_values(rvu_apm, year)
        _check_pair(rvu, values["standard"], rvu_apm, values["apm"])
    elif year < FIRST_YEAR_OF_TWO_FACTORS:
        values["apm"] = values["standard"]
    factors = pl.concat(
        frame.select(pl.lit(name).alias("factor"), "conversion_factor", "source").head(1)
        for name, frame in values.items()
    )
    rvus, gpcis, factors = (
        _like(packaged, frame, year)
        for packaged, frame in (
            (load().rvus, values["standard"]),
            (load().gpcis, _geographic_indices(gpci, year)),
            (load().factors, factors),
        )
    )
    files = [path for path in (rvu, gpci, rvu_apm) if path is not None]
    sha256 = hashlib.sha256(b"".join(_digest(path) for path in files)).hexdigest()
    return Release(year, sha256, rvus, gpcis, factors, tuple(_notes(rvus, gpcis, factors, year)))


def store_release(release: Release, folder: Path) -> Path:
    """Keep a release in the overlay folder; from then on it prices its year.

    Releases are never changed or removed: each has a folder YEAR-SEQUENCE-SHA of its own, which appears
    whole or not at all. Storing the release that already counts for its year changes nothing.
    """
    earlier = releases_by_year(folder).get(release.year, [])
    if earlier and earlier[-1].name.endswith(release.sha256[:12]):
        return earlier[-1]
    target = folder / f"{release.year}-{len(earlier) + 1:03}-{release.sha256[:12]}"
    draft = folder / f".{target.name}-{os.getpid()}"
    draft.mkdir(parents=True, exist_ok=True)
    for name in FEE_SCHEDULE:
        getattr(release, name).write_csv(draft / f"{name}.csv")
    return draft.rename(target)


def _relative_values(path: Path, year: int) -> pl.DataFrame:
    """Read the codes we bill from a PPRRVU file: the columns of `rvus`, and conversion_factor."""
    title, rows = _read(path, _RVU_COLUMNS, year)
    packaged = load()
    ours = {*packaged.rvus["code"], *packaged.ladder["code"], *packaged.supply["code"]}
    # A row with a modifier is the professional or the technical part of a service; ours have none.
    found = [row for row in rows if row["code"] in ours and not row["modifier"]]
    if not found:
        raise BadRelease(f"{path.name} has no row for any code we bill ({', '.join(sorted(ours))}).")
    _refuse_repeats(path, (row["code"] for row in found))
    numbers = [c for c in _RVU_COLUMNS if c.endswith("_rvu") or c == "conversion_factor"]
    frame = pl.DataFrame([_with_numbers(path, row, row["code"], numbers) for row in found])
    if frame["conversion_factor"].n_unique() > 1:
        raise BadRelease(f"{path.name} has more than one conversion factor: it is not one release.")
    return frame.with_columns(
        pl.col("is_nonfacility_na", "is_facility_na") == "NA", source=pl.lit(_source(path, title))
    )


def _geographic_indices(path: Path, year: int) -> pl.DataFrame:
    """Read every locality from a GPCI file: the columns of `gpcis`, footnote marks taken off the names."""
    title, rows = _read(path, _GPCI_COLUMNS, year)
    # Below the localities stand blank rows and footnotes; a spreadsheet may have eaten leading zeros.
    found = [
        row
        | {
            "mac_contract": row["mac_contract"].zfill(5),
            "locality": row["locality"].zfill(2),
            "locality_name": row["locality_name"].rstrip("* "),
        }
        for row in rows
        if re.fullmatch(r"\d{4,5}", row["mac_contract"]) and re.fullmatch(r"\d{1,2}", row["locality"])
    ]
    if not found:
        raise BadRelease(f"{path.name} has no locality under its column names.")
    places = [f"{row['mac_contract']} locality {row['locality']}" for row in found]
    _refuse_repeats(path, places)
    numbers = [c for c in _GPCI_COLUMNS if c.endswith("_gpci")]
    frame = pl.DataFrame(
        [_with_numbers(path, row, place, numbers) for row, place in zip(found, places, strict=True)]
    )
    return frame.with_columns(source=pl.lit(_source(path, title)))


def _read(path: Path, columns: Mapping[str, str], year: int) -> tuple[str, list[dict[str, str]]]:
    """Split a CMS file into its title (all rows down to the column names, in capitals) and its rows."""
    cells = _cells(path)
    missing = list(columns)
    for header in range(min(len(cells), _TITLE_ROWS)):
        places = _places(cells[: header + 1], columns)
        missing = min(missing, [name for name in columns if name not in places], key=len)
        if not missing:
            break
    else:
        raise BadRelease(f"{path.name} is not the CMS file expected here: no column {', '.join(missing)}.")
    title = " ".join(" ".join(row) for row in cells[: header + 1]).upper()
    years = {int(found[0]) for found in _YEAR.finditer(title)}
    if years - {year}:
        raise BadRelease(f"{path.name} is of {min(years - {year})}, not of {year}.")
    return title, [
        {name: row[place] if place < len(row) else "" for name, place in places.items()}
        for row in cells[header + 1 :]
    ]


def _cells(path: Path) -> list[list[str]]:
    """Read a comma-separated file as stripped text; CMS writes UTF-8 or Windows-1252."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    except OSError as error:
        raise BadRelease(f"{path.name} cannot be read: {error.strerror}.") from None
    try:
        return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""))]
    except csv.Error:
        raise BadRelease(f"{path.name} is not a CSV file: unpack CMS's zip and give its .csv.") from None


def _places(rows: list[list[str]], columns: Mapping[str, str]) -> dict[str, int]:
    """Find the place of each column whose name, stacked over these rows, matches its pattern."""
    width = max(len(row) for row in rows)
    stacks = [" ".join(row[i] for row in rows if i < len(row) and row[i]) for i in range(width)]
    names = [re.sub(r"\s+", " ", stack).upper().rstrip("* ") for stack in stacks]
    matches = {
        column: [name for name in names if re.fullmatch(pattern, name)] for column, pattern in columns.items()
    }
    return {column: names.index(found[0]) for column, found in matches.items() if found}


def _with_numbers(path: Path, row: dict[str, str], what: str, columns: list[str]) -> dict[str, object]:
    for column in columns:
        if not re.fullmatch(r"\d*\.?\d+", row[column]):
            raise BadRelease(f"{path.name}: {column} of {what} is not a number.")
    return row | {column: Decimal(row[column]) for column in columns}


def _refuse_repeats(path: Path, names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise BadRelease(f"{path.name} has {repeated[0]} more than once.")


def _check_pair(rvu: Path, standard: pl.DataFrame, rvu_apm: Path, apm: pl.DataFrame) -> None:
    """Refuse two files that are not the two halves of one release, or that are swapped."""
    ours = ("conversion_factor", "source")
    if not apm.drop(ours).equals(standard.drop(ours)):
        raise BadRelease(f"{rvu_apm.name} and {rvu.name} have different relative values.")
    if apm["conversion_factor"][0] <= standard["conversion_factor"][0]:
        raise BadRelease(f"{rvu_apm.name} has not the higher factor of the two: are the files swapped?")


def _like(packaged: pl.DataFrame, frame: pl.DataFrame, year: int) -> pl.DataFrame:
    """Date a frame to the whole year and give it the columns and types of a packaged table."""
    dated = frame.with_columns(effective_from=date(year, 1, 1), effective_to=date(year, 12, 31))
    return dated.select(pl.col(name).cast(dtype) for name, dtype in packaged.schema.items())


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _source(path: Path, title: str) -> str:
    """Name a file as a source: its name, CMS's release date where printed, and its hash."""
    released = _RELEASED.search(title)
    on = ", released {2}-{0}-{1}".format(*released.groups()) if released else ""
    return f"{path.name}, CMS{on}, sha256 {_digest(path).hex()[:12]}"


def _notes(rvus: pl.DataFrame, gpcis: pl.DataFrame, factors: pl.DataFrame, year: int) -> Iterator[str]:
    """Say what a month of this year will lack with this release."""
    packaged = load()
    ladder = in_effect(packaged.ladder, date(year, 12, 31))
    key = ["mac_contract", "locality"]
    gone = packaged.gpcis.select(key).unique().sort(key).join(gpcis, on=key, how="anti")
    new = (
        gpcis.select("mac_contract")
        .unique()
        .sort("mac_contract")
        .join(packaged.macs, on="mac_contract", how="anti")
    )
    yield from (
        ladder.join(rvus, on="code", how="anti")
        .select(pl.format("{} is not in the relative value file: its lines will have no rate.", "code"))
        .to_series()
    )
    if "apm" not in factors["factor"]:
        yield "Qualifying APM participants have no rate: give CMS's QPP file as --rvu-apm."
    yield from gone.select(
        pl.format("{} locality {} of earlier years is not in the GPCI file.", *key)
    ).to_series()
    yield from new.select(
        pl.format("Contract {} is new: the table of MACs has no name for it.", "mac_contract")
    ).to_series()
