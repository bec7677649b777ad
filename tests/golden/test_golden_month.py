"""The golden month: a made-up month, every file it must leave beside it, judged line by line by hand.

`make golden` writes the expected files anew; a person reads the difference before it is committed. Each
patient's id says which rule it stands for.
"""

from pathlib import Path

import pytest

from console.cli import run

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
LOOK = 3

pytestmark = pytest.mark.flow


def test_the_golden_month_leaves_its_golden_files(
    request: pytest.FixtureRequest, prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_NOW", "2026-11-23T12:00:00+00:00")
    monkeypatch.chdir(HERE)
    output = tmp_path / "output"
    assert run(["month-end", "--month", "2026-10", "--source", "source", "--output", str(output)]) == LOOK

    month = output / "2026-10"
    made = {
        str(path.relative_to(month)): path.read_text().replace("~", "~\n")
        for path in sorted(month.rglob("*"))
        if path.suffix in (".csv", ".json", ".837")
    }
    if request.config.getoption("--rewrite-golden"):
        for name, text in made.items():
            path = EXPECTED / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    expected = {
        str(path.relative_to(EXPECTED)): path.read_text() for path in EXPECTED.rglob("*") if path.is_file()
    }
    assert made.keys() == expected.keys()
    for name, text in expected.items():
        assert made[name] == text, name
