"""The decisions keep their promises: short, whole, and a reason for every dependency."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def dependencies() -> list[str]:
    """Name every package that pyproject.toml asks for."""
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    wanted += [package for extra in project["optional-dependencies"].values() for package in extra]
    names = {re.split(r"[\[<>=]", package)[0] for package in wanted}
    return sorted(names - {project["name"]})


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_decision_is_short_and_says_what_was_rejected(record: Path) -> None:
    text = record.read_text()
    assert len(text.splitlines()) < 30
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == [
        "Context",
        "Decision",
        "Rejected",
        "Consequences",
    ]


@pytest.mark.parametrize("package", dependencies())
def test_every_dependency_has_its_reason_in_a_decision(package: str) -> None:
    told = " ".join(record.read_text() for record in RECORDS).lower()
    assert re.search(rf"(?<![\w-]){re.escape(package)}(?![\w-])", told)
