"""Readers: the rows of a Parquet, CSV or NDJSON file as they stand, in slices of bounded size.

`tasks.intake` fetches a file, has it read here and screens the slices. What cannot be split into rows and
columns is said here; what a cell must hold is said in `schemas.sources`.
"""

import codecs
import csv
import gzip
import io
import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from schemas.quarantine import RawPart

ROWS_PER_PART: Final = 1_000_000
_BLOCK: Final = 32 * 1024 * 1024
# How many rows of an NDJSON file are searched for columns that nobody asked for.
_SAMPLE: Final = 200
_BOM: Final = b"\xef\xbb\xbf"

Reader = Callable[[Path, Sequence[str], int], Iterator[RawPart]]


class UnreadableFileError(Exception):
    """The file is damaged or not what its name says. It carries no text, for that might be a patient's."""


def read_parquet(path: Path, columns: Sequence[str], rows: int = ROWS_PER_PART) -> Iterator[RawPart]:
    """Read a Parquet file, each column in its own type.

    Raises:
        UnreadableFileError: If it is none, or damaged.
    """
    first_row = 1
    try:
        with pa.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            wanted = _wanted(names, columns)
            extra = tuple(name for name in names if name not in columns)
            for batch in file.iter_batches(batch_size=rows, columns=wanted) if wanted else ():
                yield _part(_polars(batch), first_row, extra)
                first_row += batch.num_rows
            if first_row == 1:
                yield _part(_polars(file.schema_arrow.empty_table().select(wanted)), first_row, extra)
    except (pa.ArrowException, OSError):
        raise UnreadableFileError from None


def _polars(found: pa.RecordBatch | pa.Table) -> pl.DataFrame:
    """Take an Arrow table over, types that Polars has not among them."""
    arrays = []
    for array in found.columns:
        if pa.types.is_decimal256(array.type):
            array = array.cast(pa.string())  # noqa: PLW2901  the column in a type Polars knows
        elif pa.types.is_timestamp(array.type) and array.type.tz is not None:
            array = array.cast(pa.timestamp("us", "UTC"), safe=False)  # noqa: PLW2901
        arrays.append(array)
    frame = pl.from_arrow(pa.table(arrays, names=found.schema.names))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  a table never becomes a series
    return frame


def read_csv(path: Path, columns: Sequence[str], rows: int = ROWS_PER_PART) -> Iterator[RawPart]:
    """Read a CSV file with a header, every cell as text, and say which rows cannot be split.

    Raises:
        UnreadableFileError: If it has no header, one column twice, or cannot be followed to its end.
    """
    path = _in_utf8(path)
    names, is_empty = _header(path)
    extra = tuple(name for name in names if name not in columns)
    wanted = _wanted(names, columns)
    if is_empty or not wanted:
        yield _part(pl.DataFrame(schema=dict.fromkeys(wanted, pl.String)), 1, extra)
        return
    broken: list[int] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        broken.append(row.number - 1)
        return "skip"

    labels = [f"{place}" for place in range(len(names))]
    options = {
        # Only a single thread knows the number of a row that it skips.
        "read_options": pa.csv.ReadOptions(
            use_threads=False, block_size=_BLOCK, column_names=labels, skip_rows=1
        ),
        "parse_options": pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        "convert_options": pa.csv.ConvertOptions(
            column_types=dict.fromkeys(labels, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    }
    next_row = 1
    try:
        with pa.csv.open_csv(path, **options) as reader:
            for table in _gathered(reader, rows):
                frame = _polars(table)
                skipped = pl.Series(sorted(set(broken)), dtype=pl.Int64)
                room = frame.height + skipped.len()
                numbers = pl.int_range(next_row, next_row + room, eager=True).rename("row_number")
                numbers = numbers.filter(~numbers.is_in(skipped.implode())).head(frame.height)
                swallowed = _swallowed(frame)
                last_row = numbers[-1] if frame.height else next_row - 1
                yield RawPart(
                    frame=frame.filter(~swallowed).select(
                        pl.col(labels[names.index(name)]).alias(name) for name in wanted
                    ),
                    row_numbers=numbers.filter(~swallowed),
                    broken_rows=tuple(numbers.filter(swallowed)),
                    extra_columns=extra,
                )
                next_row = last_row + 1
    except (pa.ArrowException, OSError):
        raise UnreadableFileError from None
    if broken:
        empty = pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
        yield RawPart(
            empty, pl.Series("row_number", [], pl.Int64), tuple(sorted(set(broken))), extra_columns=extra
        )


def _in_utf8(path: Path) -> Path:
    """Give the file, or a copy in which U+FFFD stands for every byte that is not UTF-8.

    The casts refuse cells that hold it, so that a file in another encoding loses only the rows concerned.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(_BLOCK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            copy = path.with_suffix(".utf8")
            with (
                path.open(encoding="utf-8", errors="replace", newline="") as found,
                copy.open("w", encoding="utf-8", newline="") as mended,
            ):
                shutil.copyfileobj(found, mended, _BLOCK)
            return copy
    return path


def _header(path: Path) -> tuple[list[str], bool]:
    """Read the names of the columns, and whether nothing but blank lines follows them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = [name.strip() for name in next(csv.reader(file), [])]
            is_empty = not any(line.strip() for line in file)
    except csv.Error:
        raise UnreadableFileError from None
    if not any(names):
        raise UnreadableFileError
    return names, is_empty


def _gathered(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Bring batches together until there are enough rows for a slice."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= rows:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def _swallowed(frame: pl.DataFrame) -> pl.Series:
    """Tell which rows hold other rows in a cell, because a quotation mark was never closed.

    Such a cell is cut like the file: the rest of its own row, then whole rows, then the beginning of one.
    """
    rows = pl.repeat(value=False, n=frame.height, eager=True)
    last = frame.width - 1
    for place, name in enumerate(frame.columns):
        many_lines = frame[name].str.contains("\n", literal=True).fill_null(value=False).arg_true()
        # Only cells of several lines are looked at, and those are few.
        for row, cell in zip(many_lines, frame[name].gather(many_lines), strict=True):
            own, *whole, beginning = (line.count(",") for line in cell.split("\n"))
            ends_alike = beginning in {place, last} or (whole and beginning == 0)
            if own == last - place and ends_alike and all(count == last for count in whole):
                rows[row] = True
    return rows


def read_ndjson(path: Path, columns: Sequence[str], rows: int = ROWS_PER_PART) -> Iterator[RawPart]:
    """Read a file of one JSON object a line, every value as text, and say which lines are none.

    A column that no line has is null in every row, for nothing else says which columns there are.
    """
    schema = dict.fromkeys(columns, pl.String())
    extra: tuple[str, ...] | None = None
    next_row = 1
    with path.open("rb") as file:
        while block := b"".join(islice(file, rows)):
            lines = block.removeprefix(_BOM) if extra is None else block
            if extra is None:
                extra = _extra_keys(lines, columns)
            try:
                frame = (
                    pl.read_ndjson(io.BytesIO(lines), schema=schema)
                    if lines.strip()
                    else pl.DataFrame(schema=schema)
                )
                numbers = pl.int_range(next_row, next_row + frame.height, eager=True)
                broken = pl.Series(dtype=pl.Int64)
            except pl.exceptions.PolarsError:
                frame, numbers, broken = _line_by_line(lines, schema, next_row)
            yield RawPart(frame, numbers, tuple(broken), extra_columns=extra)
            next_row += frame.height + broken.len()
    if extra is None:
        yield _part(pl.DataFrame(schema=schema), 1, ())


def _line_by_line(
    lines: bytes, schema: dict[str, pl.String], next_row: int
) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
    """Set the lines that are no JSON object aside and read the others."""
    found = [line for line in lines.split(b"\n") if line.strip()]
    is_fine = pl.Series([_is_object(line) for line in found], dtype=pl.Boolean)
    fine = b"\n".join(line for line, is_one in zip(found, is_fine, strict=True) if is_one)
    numbers = pl.int_range(next_row, next_row + len(found), eager=True)
    frame = pl.read_ndjson(io.BytesIO(fine), schema=schema) if fine else pl.DataFrame(schema=schema)
    return frame, numbers.filter(is_fine), numbers.filter(~is_fine)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _extra_keys(lines: bytes, columns: Sequence[str]) -> tuple[str, ...]:
    """Find keys that nobody asked for among the first rows."""
    keys: dict[str, None] = {}
    for line in lines.split(b"\n", _SAMPLE)[:_SAMPLE]:
        if _is_object(line):
            keys.update(dict.fromkeys(json.loads(line)))
    return tuple(key for key in keys if key not in columns)


def unzipped(path: Path) -> Path:
    """Unpack a .gz file beside itself and remove it; a cut or damaged one shows before a row is used.

    Raises:
        UnreadableFileError: If it is no whole gzip file.
    """
    plain = path.with_suffix("")
    try:
        with gzip.open(path) as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file, _BLOCK)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UnreadableFileError from None
    path.unlink()
    return plain


def _wanted(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Pick the columns to read.

    Raises:
        UnreadableFileError: If one of them is there twice.
    """
    wanted = [name for name in names if name in columns]
    if len(set(wanted)) < len(wanted):
        raise UnreadableFileError
    return wanted


def _part(frame: pl.DataFrame, first_row: int, extra: tuple[str, ...]) -> RawPart:
    numbers = pl.int_range(first_row, first_row + frame.height, eager=True)
    return RawPart(frame, numbers, extra_columns=extra)


READERS: Final[dict[str, Reader]] = {
    ".parquet": read_parquet,
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".ndjson": read_ndjson,
    ".ndjson.gz": read_ndjson,
    ".jsonl": read_ndjson,
    ".jsonl.gz": read_ndjson,
}
