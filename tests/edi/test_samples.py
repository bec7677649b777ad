"""Every sample file by other people: what it yields, beside the index of the samples and beside oxedi.

`samples_expected.csv` holds one row per file. Its figures for 835 files are compared here with two judges
that know nothing of our reader: the index (segments and balances, counted when the samples were gathered) and
oxedi (counts and sums). A difference has its reason in `EXPLAINED`.
"""

import csv
import json
import re
import warnings
from decimal import Decimal
from functools import cache
from pathlib import Path

import oxedi
import polars as pl
import pytest

from edi.reader import Reading, read_x12
from edi.segments import Document

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
FOLDERS = ("835", "837p", "999", "277ca", "ta1", "other")
EXPECTED = Path(__file__).with_name("samples_expected.csv")
FILES = sorted(path for folder in FOLDERS for path in (SAMPLES / folder).glob("*"))
REMITTANCES = [path for path in FILES if path.parent.name == "835"]

if not FILES:
    warnings.warn(f"no sample files under {SAMPLES}: their tests are skipped", stacklevel=1)
    pytest.skip(f"no sample files under {SAMPLES}", allow_module_level=True)

# oxedi reads from an ISA at the first byte on; we read these as far as they go.
NOT_FOR_OXEDI = {
    "affect-therapeutics__edi-835-parser__exhaustive_sample.txt",
    "keironstoddart__edi-835-parser__blue_cross_nc_sample.txt",
    "kputnam__stupidedi__2.edi",
    "ryanco__x12-parser__example835NoISA.txt",
}
EXPLAINED = {
    # oxedi makes a payment of every ST; the third one of this file is an 837.
    "clawdgeorge-prog__x12-parser__sample_multi_interchange.edi": {"payments"},
}


@cache
def reading(path: Path) -> Reading:
    return read_x12(path.read_bytes(), path.name)


def summary(path: Path) -> dict[str, str]:
    """What a file yields, as a row of the CSV file."""
    tables = reading(path).tables
    paid = tables["claims"]["paid"].sum() or 0
    return {
        "file": f"{path.parent.name}/{path.name}",
        "types": " ".join(tables["transactions"]["type"].fill_null("-").unique(maintain_order=True)),
        "transactions": str(len(tables["transactions"])),
        "payments": str(len(tables["payments"])),
        "claims": str(len(tables["claims"])),
        "lines": str(len(tables["lines"])),
        "adjustments": str(len(tables["adjustments"])),
        "statuses": str(len(tables["statuses"])),
        "acknowledgements": str(len(tables["acknowledgements"])),
        "paid": f"{paid:.2f}",
        "balanced": balances(tables) if path.parent.name == "835" else "",
        "rules": " ".join(sorted(set(tables["findings"]["rule"]))),
        "exit_code": str(reading(path).exit_code),
    }


def balances(tables: dict[str, pl.DataFrame]) -> str:
    """Count what balances, in the words of the index of the samples."""
    counted = {
        word: f"{tables[name]['is_balanced'].sum()}/{len(tables[name])}"
        for word, name in (("tx", "payments"), ("claims", "claims"), ("lines", "lines"))
    }
    return ", ".join(f"{word} {count}" for word, count in counted.items())


@cache
def expected() -> dict[str, dict[str, str]]:
    with EXPECTED.open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@cache
def index() -> dict[str, list[str]]:
    """The rows of the samples' index by file name."""
    lines = (SAMPLES / "INDEX.md").read_text().splitlines()
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines if line.startswith("|")
    ]
    return {row[1]: row for row in cells}


def test_every_sample_has_its_row() -> None:
    assert {f"{path.parent.name}/{path.name}" for path in FILES} == set(expected())
    assert len(FILES) == 195


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_sample_yields_what_its_row_says(path: Path) -> None:
    assert summary(path) == expected()[f"{path.parent.name}/{path.name}"]
    json.dumps(reading(path).to_json())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_sample_has_the_segments_the_index_counted(path: Path) -> None:
    row = index()[path.name]
    document = Document.read(path.read_bytes())
    tags = document.segments["tag"].to_list()
    assert len(document) == int(row[7])
    if "does not start with ISA" not in row[12]:  # for those the index counts an ISA that is not there
        assert "/".join(str(tags.count(tag)) for tag in ("ISA", "GS", "ST")) == row[8]


@pytest.mark.parametrize("path", REMITTANCES, ids=lambda path: path.name)
def test_a_remittance_balances_where_the_index_says_so(path: Path) -> None:
    counted = re.search(r"\((tx .*?)\)", index()[path.name][11])
    assert counted is not None
    assert balances(reading(path).tables) == counted.group(1)


@pytest.mark.parametrize(
    "path", [path for path in REMITTANCES if path.name not in NOT_FOR_OXEDI], ids=lambda path: path.name
)
def test_oxedi_counts_and_sums_the_same(path: Path) -> None:
    theirs = oxedi.parse(path.read_bytes()).tables.to_polars()
    ours = reading(path).tables
    pairs = {
        "payments": "payments",
        "claims": "claims",
        "lines": "services",
        "adjustments": "adjustments",
        "provider_adjustments": "provider_adjustments",
    }
    differing = {name for name, other in pairs.items() if len(ours[name]) != len(theirs[other])}
    assert differing == EXPLAINED.get(path.name, set())
    for name, other in (("claims", "claims"), ("lines", "services")):
        for column, their_column in (("charge", "charge_amount"), ("paid", "payment_amount")):
            assert total(ours[name][column]) == total(theirs[other][their_column]), (name, column)
    for name in ("adjustments", "provider_adjustments"):
        assert total(ours[name]["amount"]) == total(theirs[name]["amount"]), name


def total(amounts: pl.Series) -> Decimal:
    """Add up a column of money."""
    return Decimal(amounts.cast(pl.Decimal(38, 2)).sum() or 0)
