"""Page: the parts a printed page is made of, and how figures are written on it.

`tasks.report_sections` fills them, `report.html.jinja` lays them out and draws the charts. What a month
has to say does not belong here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

Kind = Literal["text", "code", "count", "minutes", "dollars", "share"]
# A table's columns: heading, the record's key, and how its cells are written.
Columns = tuple[tuple[str, str, Kind], ...]
NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its parts from the left or the bottom, and its value as text."""

    label: str
    parts: Sequence[float]
    text: str


@dataclass(frozen=True)
class Chart:
    """A bar chart; `legend` names the parts of a bar where it has several."""

    title: str
    bars: Sequence[Bar]
    kind: Literal["bars", "columns"] = "bars"
    legend: Sequence[str] = ()

    @property
    def longest(self) -> float:
        """The value that fills the chart's whole width or height."""
        return max((sum(bar.parts) for bar in self.bars), default=0) or 1


@dataclass(frozen=True)
class Table:
    """A table whose cells are text as it is to be read; `kinds` says how each column is set."""

    caption: str
    headings: Sequence[str]
    kinds: Sequence[Kind]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """One part of the page: a heading, what it says in a sentence, and the proof.

    Charts without bars and tables without rows are not shown.
    """

    title: str
    lead: str
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    is_wide: bool = False


@dataclass(frozen=True)
class Figure:
    """One headline figure; `is_attention` when a person must act on it."""

    label: str
    value: str
    note: str
    is_attention: bool = False


@cache
def page_template(name: str) -> Template:
    """Load a page's template, which escapes whatever it prints."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def bars(
    title: str, records: Iterable[Mapping[str, Any]], label: str, value: str, kind: Kind = "count"
) -> Chart:
    """Draw one value of each record as a bar."""
    return Chart(
        title, [Bar(row[label] or NOTHING, [float(row[value])], written(row[value], kind)) for row in records]
    )


def table(caption: str, columns: Columns, records: Iterable[Mapping[str, Any]]) -> Table:
    """Set records as a table."""
    rows = [[written(record[key], kind) for _, key, kind in columns] for record in records]
    return Table(caption, [heading for heading, _, _ in columns], [kind for _, _, kind in columns], rows)


def written(value: Any, kind: Kind) -> str:
    """Write a value for people; what is not known is a dash."""
    match kind:
        case _ if value is None or value == "":
            return NOTHING
        case "count":
            return f"{value:,.0f}"
        case "minutes":
            return f"{value:,.2f}"
        case "dollars":
            return f"${Decimal(value):,.2f}"
        case "share":
            return f"{100 * value:.1f} %"
        case _:
            return str(value)


def count_of(value: float) -> str:
    """Write a count."""
    return written(value, "count")


def dollars_of(amount: str) -> str:
    """Write an amount of money."""
    return written(amount, "dollars")


def share_of(part: float, whole: float | None) -> float | None:
    """Give a part of a whole; of nothing, there is no share."""
    return part / whole if whole else None
