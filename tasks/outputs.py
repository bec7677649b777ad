"""Outputs: lines.csv, holds.csv, quarantine.csv and funnel.json, sorted and the same to the byte each time.

`tasks.filing` hands over the frames; their shapes are in `schemas.outputs`. Every file is written whole
or not at all. The 837P files belong to `tasks.filing`, the page to `tasks.report`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from schemas.outputs import (
    HOLDS,
    LINES,
    QUARANTINE,
    HoldsFile,
    LinesFile,
    QuarantineFile,
    SupplyLeftOutFile,
    columns_of,
)
from tasks.storage import Storage

# Excel and LibreOffice run a cell as a formula when it begins like this, in full width too.
FORMULA_START = "^\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20]"


def write_lines(lines: pl.DataFrame | pl.LazyFrame, storage: Storage, key: str = "lines.csv") -> None:
    """Write one row per claim line, by claim and line number."""
    _write_csv(lines, LinesFile, LINES[:2], storage, key)


def write_holds(holds: pl.DataFrame | pl.LazyFrame, storage: Storage, key: str = "holds.csv") -> None:
    """Write one row per patient and reason."""
    _write_csv(holds, HoldsFile, HOLDS[:2], storage, key)


def write_supply_left_out(periods: pl.DataFrame, storage: Storage, key: str = "supply_left_out.csv") -> None:
    """Write one row per device period and reason; of none, no file stays."""
    if not periods.is_empty():
        _write_csv(periods, SupplyLeftOutFile, columns_of(SupplyLeftOutFile), storage, key)
    elif storage.exists(key):
        storage.delete(key)


def write_quarantine(
    quarantine: pl.DataFrame | pl.LazyFrame, storage: Storage, key: str = "quarantine.csv"
) -> None:
    """Write one row per rejected input row and failed rule; a lazy frame is streamed to the file."""
    _write_csv(quarantine, QuarantineFile, QUARANTINE, storage, key)


def write_funnel(funnel: Mapping[str, object], storage: Storage, key: str = "funnel.json") -> None:
    """Write the month's totals (`schemas.outputs.Funnel`) as one JSON document."""
    storage.write(key, (json.dumps(funnel, indent=2, ensure_ascii=False) + "\n").encode())


def _write_csv(
    frame: pl.DataFrame | pl.LazyFrame,
    model: type[pa.DataFrameModel],
    sort_by: Sequence[str],
    storage: Storage,
    key: str,
) -> None:
    """Write a frame's contract columns in contract order; columns of ours are left out."""
    names = frame.collect_schema().names()
    promised = _validated(frame.select(columns_of(model)), model, key) if names else _empty(model)
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        promised.lazy().with_columns(_safe_cells()).sort(sort_by).sink_csv(path)
        storage.write_file(key, path)


def _validated(
    frame: pl.DataFrame | pl.LazyFrame, model: type[pa.DataFrameModel], key: str
) -> pl.DataFrame | pl.LazyFrame:
    """Hold a frame to its promise; of a lazy frame only names and types can be checked.

    Raises:
        ValueError: If the promise is broken, naming columns and checks but never a value.
    """
    try:
        model.validate(frame, lazy=True)
    except SchemaErrors as broken:
        failed = broken.failure_cases.select(
            pl.format("{} ({})", "column", "check").unique().sort()
        ).to_series()
        # Without the cause: Pandera's own text quotes the values.
        raise ValueError(
            f"{key} was not written, its rows are not as promised: {', '.join(failed)}"
        ) from None
    return frame


def _empty(model: type[pa.DataFrameModel]) -> pl.DataFrame:
    """Make the frame of a file that has only its header."""
    return pl.DataFrame(schema=columns_of(model))


def _safe_cells() -> pl.Expr:
    """Make text cells harmless in a spreadsheet and one line each; no text stays an empty cell.

    An apostrophe goes before whatever would run as a formula: keys and file names come from outside.
    """
    text = pl.selectors.string().str.replace_all(r"[\x00-\x1f\x7f\u2028\u2029]+", " ")
    empty = text.str.len_bytes() == 0
    return pl.when(text.str.contains(FORMULA_START)).then(text.str.replace("^", "'")).when(~empty).then(text)
