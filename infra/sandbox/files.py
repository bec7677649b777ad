"""Files: a frame as one of the file formats that sources may come in.

`infra.sandbox.month` writes every dataset with it.
"""

import gzip
import io
from typing import Final

import polars as pl

FORMATS: Final = ("parquet", "csv", "csv.gz", "ndjson")


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Say times in ISO 8601 with their offset: local time where the frame has utc_offset, else UTC."""
    if "utc_offset" not in frame.columns:
        return frame.with_columns(pl.col(pl.Datetime("us", "UTC")).dt.to_string("%Y-%m-%dT%H:%M:%SZ"))
    minutes = pl.col("utc_offset").dt.total_minutes()
    offset = pl.format(
        "{}{}:{}",
        pl.when(minutes < 0).then(pl.lit("-")).otherwise(pl.lit("+")),
        (minutes.abs() // 60).cast(pl.String).str.zfill(2),
        (minutes.abs() % 60).cast(pl.String).str.zfill(2),
    )
    local = (pl.col(pl.Datetime("us", "UTC")) + pl.col("utc_offset")).dt.to_string("%Y-%m-%dT%H:%M:%S")
    return frame.with_columns(local + offset).drop("utc_offset")


def to_bytes(frame: pl.DataFrame, file_format: str) -> bytes:
    """Write a frame; the same frame gives the same bytes."""
    buffer = io.BytesIO()
    if file_format == "parquet":
        frame.drop("utc_offset", strict=False).write_parquet(buffer)
    elif file_format == "ndjson":
        as_text(frame).write_ndjson(buffer)
    else:
        as_text(frame).write_csv(buffer)
    data = buffer.getvalue()
    # Without a time in its header, the compressed file is the same each time too.
    return gzip.compress(data, compresslevel=3, mtime=0) if file_format == "csv.gz" else data
