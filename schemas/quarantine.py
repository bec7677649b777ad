"""Quarantine: each row that arrives is either accepted or refused, with every reason it gives.

`tasks.intake` screens the rows of one object after the other here; `schemas.settling` then looks at all
rows of a dataset together. What a column must hold is said in `schemas.sources`, how text becomes a type
in `schemas.casting`, what people read in `schemas.reasons`.

Nothing here raises for what a row holds, and no message repeats a name, an address or a member id.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pandera.errors
import polars as pl

from schemas.casting import FAULT, Cast, cast
from schemas.datasets import Dataset
from schemas.reasons import quoted, with_messages
from schemas.sources import TimeEntries

# One row per refused row and failed rule; row_key and column are null where a whole object is refused.
QUARANTINE_SCHEMA: Final = {
    name: pl.String() for name in ("dataset", "object", "row_key", "column", "rule", "message")
}
# How Pandera names its own checks, and the rule each stands for.
_CHECKS: Final = {"not_nullable": "missing", "isin": "unknown_code", "greater_than": "not_positive"}


@dataclass(frozen=True)
class RawPart:
    """Some rows of one source object as they were found.

    Attributes:
        frame: Text columns, or a Parquet file's own types; only columns of the dataset.
        row_numbers: Int64, the place of each row of the frame in the object; the first row has number 1.
        broken_rows: Numbers of rows that could not be split into columns, and so are not in the frame.
        sha256: What the whole object hashed to when it was read.
        extra_columns: Columns of the object that the dataset does not have.
        fault: The rule the object itself broke, so that nothing more of it could be read; else None.
    """

    frame: pl.DataFrame
    row_numbers: pl.Series
    broken_rows: tuple[int, ...] = ()
    sha256: str = ""
    extra_columns: tuple[str, ...] = ()
    fault: str | None = None


@dataclass(frozen=True)
class Screened:
    """The rows of a part on one side or the other: rows = accepted + rejected.

    Attributes:
        accepted: Typed rows with the columns of the dataset, then object and row_number.
        rejected: One row per refused row: the columns of the key as text, object, row_number, row_key, the
            times that could be read, and `content`, the whole row as text; for settling and counting only.
        quarantined: One row per refused row and rule, for people; a refused object has one row in all.
        extra_columns: Columns of the object that the dataset does not have.
        absent_columns: Columns of the dataset that the object does not have.
    """

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    quarantined: pl.DataFrame
    extra_columns: tuple[str, ...] = ()
    absent_columns: tuple[str, ...] = ()


def screen(
    part: RawPart,
    dataset: Dataset,
    *,
    object_key: str,
    now: datetime,
    patient_ids: pl.Series | None = None,
    released: pl.DataFrame | None = None,
) -> Screened:
    """Split the rows of one part into accepted and refused.

    Args:
        part: The rows as found.
        dataset: What they must look like.
        object_key: The source object's key, for people to find the row.
        now: Time entries may not start or end after it.
        patient_ids: Every id in the raw patient snapshot, refused rows included; None leaves it unchecked.
        released: Rules that a person let a row break: subject (the row's key) and reason_code (the rule).
    """
    # In one chunk: Polars 2.1 panics when it formats filtered columns that have empty chunks.
    read = cast(part.frame.rechunk(), dataset.types)
    typed = _completed(read.typed, dataset)
    absent = tuple(name for name in dataset.types if name not in part.frame.columns)
    place = [
        pl.repeat(object_key, typed.height, dtype=pl.String, eager=True).alias("object"),
        part.row_numbers.rechunk().cast(pl.Int64).alias("row_number"),
    ]
    faults = _object_faults(part, dataset, absent)
    if faults.is_empty():
        faults = pl.concat(
            [
                read.faults,
                # A cell that could not be read is null by now, which does not make it empty.
                _model_faults(typed, dataset).join(
                    read.faults.with_columns(rule=pl.lit("missing")),
                    on=["index", "column", "rule"],
                    how="anti",
                ),
                *_context_faults(typed, dataset, now, patient_ids),
            ]
        )
        faults = _unreleased(faults, typed, dataset, released)
        rows = pl.int_range(typed.height, dtype=pl.UInt32, eager=True)
        is_rejected = rows.is_in(faults["index"].unique().implode())
    else:
        is_rejected = pl.repeat(value=True, n=typed.height, eager=True)
    refused = read.given.with_columns(*place).with_row_index("index").filter(is_rejected)
    rejected = pl.concat(
        [_identified(typed.filter(is_rejected), refused, dataset), _broken(part, object_key, typed.height)],
        how="diagonal",
    )
    broken = rejected.filter(pl.col("index") >= typed.height).select("index", rule=pl.lit("unreadable_row"))
    faults = pl.concat([_with_values(faults, read, dataset), broken], how="diagonal")
    return Screened(
        accepted=typed.with_columns(*place).filter(~is_rejected),
        rejected=rejected.drop("index"),
        quarantined=_listed(faults, rejected, dataset, object_key),
        extra_columns=part.extra_columns,
        absent_columns=absent,
    )


def row_contents(cells: pl.DataFrame) -> pl.Series:
    """Say each row of typed or text columns as one text: the same for the same content, whatever its file."""
    text = pl.all().cast(pl.String).fill_null("")
    return cells.select(content=pl.concat_str(text, separator="\x1f"))["content"]


def _completed(typed: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """Give empty cells their default, and codes of digits the zeros that spreadsheets drop."""
    filled = [pl.col(name).fill_null(default) for name, default in dataset.defaults.items()]
    for name, width in dataset.widths.items():
        is_digits = pl.col(name).str.contains(r"^\d+$")
        filled.append(pl.when(is_digits).then(pl.col(name).str.zfill(width)).otherwise(name).alias(name))
    return typed.with_columns(filled)


def _object_faults(part: RawPart, dataset: Dataset, absent: tuple[str, ...]) -> pl.DataFrame:
    """Say what refuses the object as a whole: it is unreadable, or lacks a column no row can do without."""
    missing = ", ".join(name for name in dataset.required_columns if name in absent)
    found = (
        [(None, None, part.fault)] if part.fault else [(None, missing, "missing_column")] if missing else []
    )
    return pl.DataFrame(found, schema=FAULT, orient="row")


def _model_faults(typed: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """Validate against the dataset's model.

    Raises:
        RuntimeError: If the frame has not the model's types, which is our mistake and no row's.
    """
    try:
        dataset.model.validate(typed, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases: pl.DataFrame = errors.failure_cases.select(
            pl.col("index").cast(pl.UInt32),
            "column",
            rule=pl.col("check").str.extract(r"^(\w+)").replace(_CHECKS),
        )
    else:
        return pl.DataFrame(schema=FAULT)
    if cases["index"].null_count():
        # Pandera's own error holds cells, so it must not be chained.
        raise RuntimeError(f"{dataset.name} was not cast to the types of its model.")
    return cases


def _context_faults(
    typed: pl.DataFrame, dataset: Dataset, now: datetime, patient_ids: pl.Series | None
) -> Iterator[pl.DataFrame]:
    """Find what only today's date or another dataset can show."""
    if dataset.model is not TimeEntries:
        return
    rules = [
        ("started_at", "in_the_future", pl.col("started_at") > now),
        ("ended_at", "in_the_future", pl.col("ended_at") > now),
    ]
    if patient_ids is not None:
        rules.append(("patient_id", "unknown_patient", ~pl.col("patient_id").is_in(patient_ids.implode())))
    indexed = typed.with_row_index("index")
    for column, rule, is_broken in rules:
        yield indexed.filter(is_broken).select("index", column=pl.lit(column), rule=pl.lit(rule))


def _unreleased(
    faults: pl.DataFrame, typed: pl.DataFrame, dataset: Dataset, released: pl.DataFrame | None
) -> pl.DataFrame:
    """Leave out what a person let pass."""
    if released is None or released.is_empty() or dataset.row_key is None:
        return faults
    keyed = typed.select(subject=dataset.row_key).with_row_index("index")
    passed = keyed.join(released, on="subject").select("index", rule="reason_code")
    return faults.join(passed, on=["index", "rule"], how="anti")


def _identified(typed: pl.DataFrame, given: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """Say of refused rows what names and settles them; a cell that could not be read counts as given."""
    cells = pl.DataFrame(
        [typed[name].cast(pl.String).fill_null(given[name].cast(pl.String)) for name in typed.columns]
    )
    own_key = pl.col(dataset.row_key) if dataset.row_key else pl.lit(None, pl.String)
    return cells.with_columns(
        given["index"],
        given["object"],
        given["row_number"],
        row_contents(cells),
        *(typed[name] for name in dataset.instants),
    ).select(
        "index",
        *dataset.key,
        "object",
        "row_number",
        pl.coalesce(own_key, pl.format("row {}", "row_number")).alias("row_key"),
        *dataset.instants,
        "content",
    )


def _broken(part: RawPart, object_key: str, height: int) -> pl.DataFrame:
    """Number the rows that are in no frame after those that are."""
    numbers = pl.Series("row_number", part.broken_rows, pl.Int64)
    return numbers.to_frame().select(
        (pl.int_range(pl.len(), dtype=pl.UInt32) + height).cast(pl.UInt32).alias("index"),
        pl.lit(object_key).alias("object"),
        "row_number",
        row_key=pl.format("row {}", "row_number"),
    )


def _with_values(faults: pl.DataFrame, read: Cast, dataset: Dataset) -> pl.DataFrame:
    """Add the cell that shows each fault, where a message may quote it."""
    cells = [faults.head(0).with_columns(value=pl.lit(None, pl.String))]
    for (name,), found in faults.partition_by("column", as_dict=True).items():
        value = pl.lit(None, pl.String)
        if not dataset.has_identifiers and found["index"].null_count() == 0:
            value = pl.lit(read.given[str(name)].gather(found["index"]).cast(pl.String))
        cells.append(found.with_columns(value=quoted(value)))
    return pl.concat(cells)


def _listed(faults: pl.DataFrame, rejected: pl.DataFrame, dataset: Dataset, object_key: str) -> pl.DataFrame:
    """Write the quarantine: one row per refused row and rule, naming every column that breaks it."""
    position = pl.col("column").cast(pl.Enum(list(dataset.types)), strict=False).to_physical()
    return (
        with_messages(faults.sort("index", position), dataset.codes)
        .group_by("index", "rule", maintain_order=True)
        .agg(
            pl.when(pl.col("column").count() > 0).then(pl.col("column").str.join(", ")),
            pl.col("message").str.join(" "),
        )
        .join(rejected.select("index", "row_key"), on="index", how="left", maintain_order="left")
        .with_columns(dataset=pl.lit(dataset.name), object=pl.lit(object_key))
        .select(*QUARANTINE_SCHEMA)
    )
