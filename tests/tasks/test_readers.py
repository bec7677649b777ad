"""Files are taken apart row by row, and what cannot be is said."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.quarantine import RawPart
from tasks import readers
from tasks.readers import Reader, UnreadableFileError, read_csv, read_ndjson, read_parquet, unzipped

COLUMNS = ("a", "b", "c")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def rows(parts: Iterator[RawPart]) -> dict[int, tuple[Any, ...]]:
    """Read all parts as text by row number; a broken row is empty."""
    found: dict[int, tuple[Any, ...]] = {}
    for part in parts:
        text = part.frame.select(pl.all().cast(pl.String))
        found |= dict(zip(part.row_numbers, text.rows(), strict=True))
        found |= dict.fromkeys(part.broken_rows, ())
    return found


def csv_rows(path: Path, data: bytes) -> dict[int, tuple[Any, ...]]:
    path.write_bytes(data)
    return rows(read_csv(path, COLUMNS))


@pytest.mark.parametrize(
    "data",
    [
        b"a,b,c\n1,2,3\n4,5,6\n",
        b"a,b,c\n1,2,3\n4,5,6",
        b"a,b,c\r\n1,2,3\r\n4,5,6\r\n",
        b"\xef\xbb\xbfa,b,c\n1,2,3\n4,5,6\n",
        b'"a","b","c"\n"1","2","3"\n"4","5","6"\n',
        b" a ,b , c\n1,2,3\n\n4,5,6\n\n",
    ],
)
def test_csv_dialects_say_the_same(path: Path, data: bytes) -> None:
    assert csv_rows(path, data) == {1: ("1", "2", "3"), 2: ("4", "5", "6")}


def test_csv_quotes_hold_separators_quotes_and_newlines(path: Path) -> None:
    data = b'a,b,c\n"x,y","say ""hi""","two\nlines"\n1,,""\n'
    assert csv_rows(path, data) == {1: ("x,y", 'say "hi"', "two\nlines"), 2: ("1", None, None)}


def test_csv_columns_come_in_any_order_and_others_are_named(path: Path) -> None:
    path.write_bytes(b"z,c,a\n9,3,1\n")
    (part,) = read_csv(path, COLUMNS)
    assert part.frame.columns == ["c", "a"]
    assert part.extra_columns == ("z",)


@pytest.mark.parametrize("data", [b"a,b,c\n", b"a,b,c", b"a,b,c\r\n\r\n  \n"])
def test_csv_with_a_header_only_has_no_rows_but_columns(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    (part,) = read_csv(path, COLUMNS)
    assert part.frame.columns == ["a", "b", "c"]
    assert part.frame.height == 0


def test_csv_rows_too_short_or_too_long_are_broken_and_the_others_keep_their_numbers(path: Path) -> None:
    data = b"a,b,c\n1,2,3\n4,5\n6,7,8,9\n\n10,11,12\n"
    assert csv_rows(path, data) == {1: ("1", "2", "3"), 2: (), 3: (), 4: ("10", "11", "12")}


@pytest.mark.parametrize(
    ("data", "last"),
    [
        (b'a,b,c\n0,0,0\n1,2,"3\n4,5,6\n7,8,9\n', {}),
        (b'a,b,c\n0,0,0\n1,2,"3\n4,5,6\n7,8,"9\n2,2,2\n', {3: ("2", "2", "2")}),
        (b'a,b,c\n0,0,0\n1,"2,3\n4,"5,6\n2,2,2\n', {3: ("2", "2", "2")}),
        (b'a,b,c\n0,0,0\n"1,2,3\n"4,5,6\n2,2,2\n', {3: ("2", "2", "2")}),
    ],
)
def test_csv_rows_swallowed_by_an_open_quote_are_broken_and_not_a_cell(
    path: Path, data: bytes, last: dict[int, Any]
) -> None:
    assert csv_rows(path, data) == {1: ("0", "0", "0"), 2: (), **last}


def test_csv_notes_of_several_lines_are_not_taken_for_swallowed_rows(path: Path) -> None:
    data = b'a,b,c\n1,"seen, well\nno change, none\nasked, answered",3\n2,3,"4\n"\n'
    assert set(csv_rows(path, data).values()) == {
        ("1", "seen, well\nno change, none\nasked, answered", "3"),
        ("2", "3", "4\n"),
    }


def test_csv_in_latin_1_shows_which_cells_are_not_utf8(path: Path) -> None:
    data = "a,b,c\n1,Zürich,3\n4,5,6\nü,7\n".encode("latin-1")
    assert csv_rows(path, data) == {1: ("1", "Z\ufffdrich", "3"), 2: ("4", "5", "6"), 3: ()}


@pytest.mark.parametrize("data", [b"\n", b"  \n\n", b"a,b,a\n1,2,3\n"])
def test_csv_without_a_header_or_with_one_column_twice_is_unreadable(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError):
        list(read_csv(path, COLUMNS))


def test_csv_numbers_stay_right_over_blocks_and_slices(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_BLOCK", 1 << 12)
    lines = [f"{number},x,{'y' if number % 7 else 'y,z'}" for number in range(1, 5001)]
    path.write_text("a,b,c\n" + "\n".join(lines))
    parts = list(read_csv(path, COLUMNS, 1000))
    assert len(parts) > 4
    assert max(part.frame.height for part in parts) < 1500
    found = rows(iter(parts))
    assert sorted(found) == list(range(1, 5001))
    assert all(row == ((str(number), "x", "y") if number % 7 else ()) for number, row in found.items())


def ndjson_rows(path: Path, data: bytes) -> dict[int, tuple[Any, ...]]:
    path.write_bytes(data)
    return rows(read_ndjson(path, COLUMNS))


def test_ndjson_values_of_any_type_become_text(path: Path) -> None:
    lines = [{"a": 1, "b": True, "c": 98.6}, {"a": "1", "c": None, "z": [1]}]
    path.write_text("\n".join(map(json.dumps, lines)))
    (part,) = read_ndjson(path, COLUMNS)
    assert part.frame.rows() == [("1", "true", "98.6"), ("1", None, None)]
    assert part.extra_columns == ("z",)


@pytest.mark.parametrize(
    "data", [b'{"a":1}\n{"a":2}\n', b'{"a":1}\r\n{"a":2}', b'\xef\xbb\xbf{"a":1}\n\n{"a":2}\n\n']
)
def test_ndjson_dialects_say_the_same(path: Path, data: bytes) -> None:
    assert ndjson_rows(path, data) == {1: ("1", None, None), 2: ("2", None, None)}


def test_ndjson_lines_that_are_no_object_are_broken_and_the_others_are_read(path: Path) -> None:
    data = b'{"a":1}\n{"a":\n[1]\nno\n{"a":"\xfc"}\n{"a":1}{"a":2}\n{"a":7}\n{"a":8'
    assert ndjson_rows(path, data) == {
        **dict.fromkeys((2, 3, 4, 5, 6, 8), ()),
        1: ("1", None, None),
        7: ("7", None, None),
    }


def test_ndjson_comes_in_slices_with_running_numbers(path: Path) -> None:
    path.write_text("\n".join(f'{{"a":{number}}}' if number % 5 else "oops" for number in range(1, 101)))
    parts = list(read_ndjson(path, COLUMNS, 30))
    assert [part.frame.height + len(part.broken_rows) for part in parts] == [30, 30, 30, 10]
    found = rows(iter(parts))
    assert all(row == ((str(number), None, None) if number % 5 else ()) for number, row in found.items())


@pytest.mark.parametrize("data", [b"", b"\n\n"])
def test_ndjson_without_rows_still_has_columns(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    (part,) = read_ndjson(path, COLUMNS)
    assert part.frame.columns == list(COLUMNS)
    assert part.frame.height == 0


def test_parquet_keeps_its_types_and_comes_in_slices(path: Path) -> None:
    frame = pl.DataFrame({"a": range(10), "z": range(10), "b": [date(2026, 1, 1)] * 10})
    frame.write_parquet(path)
    parts = list(read_parquet(path, COLUMNS, 4))
    assert [part.frame.height for part in parts] == [4, 4, 2]
    assert [part.row_numbers[0] for part in parts] == [1, 5, 9]
    assert parts[0].frame.schema == {"a": pl.Int64, "b": pl.Date}
    assert parts[0].extra_columns == ("z",)


def test_parquet_types_that_polars_lacks_are_taken_over(path: Path) -> None:
    noon = datetime(2026, 10, 5, 12, tzinfo=UTC)
    table = pa.table(
        {
            "a": pa.array([Decimal("75.10")], pa.decimal256(40, 2)),
            "b": pa.array([noon], pa.timestamp("ns", "+05:30")),
            "c": pa.array(["x"]).dictionary_encode(),
        }
    )
    pa.parquet.write_table(table, path)
    (part,) = read_parquet(path, COLUMNS)
    assert part.frame.select("a", "b", pl.col("c").cast(pl.String)).rows() == [("75.10", noon, "x")]


def test_parquet_without_rows_or_without_a_known_column(path: Path) -> None:
    pl.DataFrame(schema={"a": pl.String}).write_parquet(path)
    (part,) = read_parquet(path, COLUMNS)
    assert (part.frame.columns, part.frame.height) == (["a"], 0)
    pl.DataFrame({"z": [1]}).write_parquet(path)
    (part,) = read_parquet(path, COLUMNS)
    assert (part.frame.width, part.extra_columns) == (0, ("z",))


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"a,b,c\n1,2,3\n"])
def test_parquet_that_is_none_is_unreadable(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    with pytest.raises(UnreadableFileError):
        list(read_parquet(path, COLUMNS))


def test_parquet_with_a_damaged_page_is_unreadable(path: Path) -> None:
    pl.DataFrame({"a": [f"value {number}" for number in range(1000)]}).write_parquet(path)
    data = bytearray(path.read_bytes())
    data[40:400] = bytes(360)
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError):
        list(read_parquet(path, COLUMNS))


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    packed = tmp_path / "x.csv.gz"
    packed.write_bytes(gzip.compress(b"a,b\n", mtime=0) + gzip.compress(b"1,2\n", mtime=0))
    assert unzipped(packed).read_bytes() == b"a,b\n1,2\n"
    assert not packed.exists()


@pytest.mark.parametrize("data", [gzip.compress(b"a,b\n" * 99, mtime=0)[:-9], b"a,b\n", b""])
def test_a_packed_file_that_is_cut_or_none_is_unreadable(tmp_path: Path, data: bytes) -> None:
    packed = tmp_path / "x.csv.gz"
    packed.write_bytes(data)
    if data:
        with pytest.raises(UnreadableFileError):
            unzipped(packed)
    else:
        assert unzipped(packed).read_bytes() == b""


@pytest.mark.parametrize("read", [read_csv, read_ndjson, read_parquet])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(st.sampled_from([*b'a,b,c\n1"\r{}:[]\\\x00\xff\xc3\xbc ', 10, 44, 34]), max_size=80).map(
        bytes
    )
)
def test_no_bytes_stop_a_reader_otherwise_than_by_being_unreadable(
    path: Path, read: Reader, data: bytes
) -> None:
    path.write_bytes(b"a,b,c\n" + data if read is read_csv else data)
    try:
        parts = list(read(path, COLUMNS, 1000))
    except UnreadableFileError:
        return
    numbers = [number for part in parts for number in (*part.row_numbers, *part.broken_rows)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
