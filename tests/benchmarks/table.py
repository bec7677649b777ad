"""Table: every benchmark of this folder, run one after the other and shown as one table: `make bench`.

Machines differ and are shared: a ratio compares two ways within one run, and only ratios are goals.
Name benchmarks to run only those: `python -m tests.benchmarks.table month counting`.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def benchmarks(wanted: list[str]) -> list[str]:
    """List the benchmarks by name, all or those wanted."""
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise SystemExit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(found)}.")
    return wanted or found


def shown(figure: Any) -> str:
    """Write a figure with the digits that mean something."""
    if isinstance(figure, int | float):
        return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:,.2f}"
    return "" if figure is None else str(figure)


def main() -> None:
    """Run them and print the table."""
    table = Table("Benchmark", "Measure", "Value", "Unit", "Ratio", "Goal", box=None)
    for name in benchmarks(sys.argv[1:]):
        print(f"running {name} …", file=sys.stderr, flush=True)
        for row in import_module(f"tests.benchmarks.bench_{name}").run():
            figures = (shown(row[key]) for key in ("value", "unit", "ratio", "goal"))
            table.add_row(name, row["name"], *figures)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
