"""Settling: one key, one content.

`tasks.settling` settles the screened rows of a dataset, all of one key together: repeats are dropped, and a
key that stands for different contents refuses all its rows. Screening a single object belongs to
`schemas.quarantine`.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from schemas.datasets import Dataset
from schemas.quarantine import QUARANTINE_SCHEMA, row_contents
from schemas.reasons import with_messages

_PLACES_AT_MOST: Final = 5


@dataclass(frozen=True)
class Settled:
    """The rows of a dataset once no key has two contents.

    Rows accepted before = accepted + rejected + repeats. The quarantine also lists rows that were refused
    before, for the one rule found here; they are not in `rejected`.
    """

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    quarantined: pl.DataFrame
    repeat_count: int = 0


def settle(accepted: pl.DataFrame, rejected: pl.DataFrame, dataset: Dataset) -> Settled:
    """Drop repeats of a row and refuse every row of a key that has several contents.

    Args:
        accepted: Screened rows, as `schemas.quarantine.screen` gives them.
        rejected: The refused rows of the same keys, likewise.
        dataset: Whose rows they are; without a key every row stays.
    """
    if not dataset.key:
        return Settled(accepted, accepted.clear(), pl.DataFrame(schema=QUARANTINE_SCHEMA))
    key = pl.concat_str(pl.col(dataset.key).cast(pl.String), separator="\x1f").alias("_key")
    # Hardly any key repeats, so the many rows are only counted and the few are compared.
    rows = accepted.with_columns(key).with_row_index("_row")
    refused = rejected.with_columns(key).filter(pl.col("_key").is_not_null())
    is_shared = pl.col("_key").is_duplicated() | pl.col("_key").is_in(refused["_key"].unique().implode())
    # In one chunk: Polars 2.1 panics when it formats filtered columns that have empty chunks.
    shared = rows.filter(is_shared).rechunk()
    own_key = pl.col(dataset.row_key) if dataset.row_key else pl.lit(None, pl.String)
    compared = pl.concat(
        [
            shared.select(
                "_key",
                "_row",
                "object",
                "row_number",
                row_key=pl.coalesce(own_key, pl.format("row {}", "row_number")),
                content=row_contents(shared.select(list(dataset.types))),
            ),
            refused.select(
                "_key", pl.lit(None, pl.UInt32).alias("_row"), "object", "row_number", "row_key", "content"
            ),
        ]
    ).sort("object", "row_number")
    conflicting = compared.filter(pl.col("content").n_unique().over("_key") > 1)
    alike = compared.filter(pl.col("content").n_unique().over("_key") == 1, pl.col("_row").is_not_null())
    repeats = alike.filter(pl.col("_row").cum_count().over("_key") > 1)
    newly_refused = conflicting["_row"].drop_nulls()
    dropped = pl.concat([repeats["_row"], newly_refused])
    return Settled(
        accepted=rows.filter(~pl.col("_row").is_in(dropped.implode())).drop("_row", "_key"),
        rejected=rows.filter(pl.col("_row").is_in(newly_refused.implode())).drop("_row", "_key"),
        quarantined=_listed(conflicting, dataset),
        repeat_count=repeats.height,
    )


def _listed(conflicting: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """Write a quarantine row for each row of a key with several contents, naming where the others are."""
    places = pl.format("{} row {}", "object", "row_number")
    named = places.head(_PLACES_AT_MOST).str.join("; ").over("_key")
    more = pl.len().over("_key") - _PLACES_AT_MOST
    faults = conflicting.with_columns(
        column=pl.lit(dataset.key[-1]),
        rule=pl.lit("duplicate_id"),
        value=pl.when(pl.len().over("_key") > _PLACES_AT_MOST)
        .then(pl.format("{} and {} more", named, more))
        .otherwise(named),
    )
    return with_messages(faults, {}).with_columns(dataset=pl.lit(dataset.name)).select(*QUARANTINE_SCHEMA)
