"""What the flow tests hold in hand: a sample month, and what a run of it left behind."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from infra.sandbox.month import MonthMade


@dataclass(frozen=True)
class SampleMonth:
    """A month made once, read by many tests."""

    source: Path
    made: MonthMade


@dataclass(frozen=True)
class Outputs:
    """What one run left behind, and its exit code."""

    folder: Path
    code: int

    def table(self, name: str) -> pl.DataFrame:
        """Read one of the month's CSV files as text."""
        return pl.read_csv(self.folder / f"{name}.csv", infer_schema=False).fill_null("")

    def files(self) -> dict[str, bytes]:
        """Read every file the run left."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


RunMonth = Callable[..., Outputs]
