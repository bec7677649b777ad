"""Elements: looking values up in a file of X12 that is cut into segments.

One Arrow array holds all elements, and numpy the index of each segment in it, so a column of a reader's frame
is a single gather. It is lossless: `source` gives back the very bytes of any stretch. `edi.segments` adds
what lies in what; what a segment means belongs to the readers.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from mmap import mmap

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from edi.cutting import cut
from edi.delimiters import Span
from edi.nesting import Rows

_CODE_LENGTH = 4
_NEVER = np.iinfo(np.uint32).max
# Keeps the first bytes of a packed code, by its length; a longer text is no code.
_CODE_MASKS = np.array([0, 0xFF000000, 0xFFFF0000, 0xFFFFFF00, 0xFFFFFFFF, 0], np.uint32)
_SEGMENT_ID = re.compile(rb"[A-Z][A-Z0-9]{1,2}\0{1,2}")  # packed


class Elements:
    """The segments of a file; rows count from 0 here, segment numbers from 1 in the file."""

    def __init__(self, data: bytes | mmap, spans: list[Span], segments_before: int) -> None:
        """Cut `data` along `spans`.

        Args:
            data: Bytes of the file.
            spans: What to cut, from `find_spans`; junk is passed over.
            segments_before: How many segments the earlier parts of the file held.
        """
        self._segments_before = segments_before
        self._cut = cut(data, spans)
        self._offsets = self._cut.offsets
        self._null = len(self._offsets) - 2
        # The four bytes at every place of the text, as one number: a code is looked up in one step.
        padded = self._cut.text + bytes(_CODE_LENGTH)
        self._words: npt.NDArray[np.uint32] = np.ndarray(len(padded) - 3, ">u4", padded, strides=(1,))
        # Narrow numbers are what a gather wants; wide ones it would have to check and copy.
        ends = self._cut.ends.astype(np.uint32)
        self._first = np.concatenate([np.zeros(1, np.uint32), ends[:-1] + 1])[: len(ends)]
        self._count = ends - self._first + 1
        self._read_tags()

    def _read_tags(self) -> None:
        """Pack each segment id into an integer, and drop blank segments (empty lines)."""
        first = self._first.astype(np.int64)
        start = self._offsets[first]
        length = self._offsets[first + 1] - start
        self._tags = self._pack(start, length)
        if (self._tags >> 24 <= ord(" ")).any():
            # Indented or blank segments: the id begins behind the blanks.
            ids = self._elements.gather(self._first).fill_null("")
            bare = ids.str.strip_chars_start().str.len_bytes().to_numpy()
            start, length = start + length - bare, ids.str.strip_chars().str.len_bytes().to_numpy()
            kept = (length > 0) | (self._count > 1)
            self._first, self._count = self._first[kept], self._count[kept]
            self._tags = self._pack(start[kept], length[kept])

    def _pack(
        self, start: npt.NDArray[np.integer], length: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.uint32]:
        """Pack the texts that begin at `start` as `code` does; 0 for those that are too long."""
        packed: npt.NDArray[np.uint32] = (
            self._words[start] & _CODE_MASKS[np.minimum(length, _CODE_LENGTH + 1)]
        )
        return packed

    @cached_property
    def _elements(self) -> pl.Series:
        """Every element of the document in one column; empty ones are null."""
        is_valid = np.packbits(np.diff(self._offsets) > 0, bitorder="little")
        buffers = [pa.py_buffer(buffer) for buffer in (self._offsets, self._cut.text, is_valid)]
        if self._offsets.dtype != np.int32:
            return pl.Series(pa.LargeStringArray.from_buffers(self._null + 1, *buffers))
        # Views are what a Series holds, and Arrow makes them faster.
        return pl.Series(pa.StringArray.from_buffers(self._null + 1, *buffers).cast(pa.string_view()))

    def __len__(self) -> int:
        """Count the segments."""
        return len(self._first)

    def rows(self, *tags: str) -> Rows:
        """Find the rows of the segments with one of these ids, in file order."""
        # Most ids that somebody asks for are nowhere in a part of a large file.
        codes = [code(tag) for tag in tags if code(tag) in self._ids]
        if not codes:
            return np.empty(0, np.int64)
        found = self._tags == codes[0]
        for other in codes[1:]:
            found |= self._tags == other
        return np.flatnonzero(found)

    @cached_property
    def _ids(self) -> set[int]:
        """The different segment ids, packed."""
        return set(pl.Series(self._tags).unique().to_list())

    def element(self, rows: npt.ArrayLike, position: int | Rows) -> pl.Series:
        """Take one element of each row (0 is the segment id); null when absent, empty or blank.

        Rows below 0 give null: the answer for an owner without such a segment. `position` may differ by row.
        """
        return self.columns(rows, {"": position})[""]

    def columns(self, rows: npt.ArrayLike, positions: Mapping[str, int | Rows]) -> dict[str, pl.Series]:
        """Take several elements of each row, by name, as `element` does but in one gather."""
        at = np.asarray(rows, np.int64)
        if len(self) == 0:
            return {name: pl.repeat(None, len(at), dtype=pl.String, eager=True) for name in positions}
        first = self._first.take(at, mode="wrap")
        count = np.where(at >= 0, self._count.take(at, mode="wrap"), 0)
        least, most = count.min(initial=_NEVER), count.max(initial=0)
        reached = {
            name: position for name, position in positions.items() if np.min(position, initial=most) < most
        }
        places = np.empty((len(reached), len(at)), np.uint32)
        for place, position in zip(places, reached.values(), strict=True):
            np.add(first, position, out=place, casting="unsafe")
            if np.max(position, initial=0) >= least:
                np.copyto(place, self._null, where=count <= position)
        found = self._elements[places.ravel()]
        if self._has_blanks:
            found = _empty_to_null(found.str.strip_chars())
        columns = {name: found.slice(nth * len(at), len(at)) for nth, name in enumerate(reached)}
        if len(reached) < len(positions):
            # An element that no row reaches needs no looking up.
            absent = pl.repeat(None, len(at), dtype=pl.String, eager=True)
            return {name: columns.get(name, absent) for name in positions}
        return columns

    def codes(self, rows: npt.ArrayLike, position: int) -> npt.NDArray[np.uint32]:
        """Take a short code as an integer, `code("472")`, faster than as text; 0 when absent or longer."""
        at = np.asarray(rows, np.int64)
        if self._has_blanks:
            texts = self.element(at, position)
            codes = {
                text: code(text) for text in texts.unique().drop_nulls() if len(text.encode()) <= _CODE_LENGTH
            }
            return texts.replace_strict(codes, default=0, return_dtype=pl.UInt32).fill_null(0).to_numpy()
        element = np.where(self._count[at] > position, self._first[at] + position, self._null)
        start = self._offsets[element]
        length = self._offsets[element + 1] - start
        return self._pack(start, length)

    def tags(self, rows: Rows) -> npt.NDArray[np.uint32]:
        """Take the segment ids as integers, `code("CLP")`."""
        tags: npt.NDArray[np.uint32] = self._tags[rows]
        return tags

    def counts(self, rows: npt.ArrayLike) -> Rows:
        """Count the pieces of each segment, its id included."""
        counts: Rows = self._count[np.asarray(rows, np.int64)].astype(np.int64)
        return counts

    def last_of(self, *tags: str) -> Rows:
        """Find, for every row, the last row at or before it with one of these ids; -1 for none."""
        last = np.full(len(self), -1, np.int64)
        rows = self.rows(*tags)
        last[rows] = rows
        return np.maximum.accumulate(last)

    def component(self, rows: npt.ArrayLike, position: int, number: int) -> pl.Series:
        """Take one component (counts from 1) of a composite element; null when absent or empty."""
        return _empty_to_null(self.components(rows, position).list.get(number - 1, null_on_oob=True))

    def components(self, rows: npt.ArrayLike, position: int) -> pl.Series:
        """Split a composite element into its components."""
        split = pl.col("text").str.split(pl.col("separator"))
        return pl.DataFrame(
            {"text": self.element(rows, position), "separator": self.separators(rows)}
        ).select(split)["text"]

    def repetitions(self, rows: npt.ArrayLike, position: int) -> pl.Series:
        """Split a repeating element; where its interchange has no repetition separator it stays one."""
        split = pl.col("text").str.split(pl.col("separator"))
        marks = [(piece.delimiters.repetition or b"\0").decode() for piece in self._cut.pieces]
        return pl.DataFrame(
            {"text": self.element(rows, position), "separator": self._of_piece(rows, marks)}
        ).select(split)["text"]

    def separators(self, rows: npt.ArrayLike) -> pl.Series:
        """Give the component separator of each row; interchanges of one file may differ."""
        return self._of_piece(rows, [piece.delimiters.component.decode() for piece in self._cut.pieces])

    def _of_piece(self, rows: npt.ArrayLike, values: list[str]) -> pl.Series:
        at = np.asarray(rows, np.int64)
        if len(set(values)) <= 1:
            return pl.repeat((values or [""])[0], len(at), dtype=pl.String, eager=True)
        starts = np.array([piece.first_element for piece in self._cut.pieces])
        return pl.Series(values).gather(np.searchsorted(starts, self._first[at], side="right") - 1)

    def number(self, rows: npt.ArrayLike) -> Rows:
        """Number, from 1 in the file, the segments of these rows."""
        return np.asarray(rows, np.int64) + (self._segments_before + 1)

    def source(self, first: int, last: int) -> bytes:
        """Give back the bytes of the rows `first` to `last` as they stood, line breaks included."""
        return self._cut.source(int(self._first[first]), int(self._first[last] + self._count[last]))

    @cached_property
    def _has_blanks(self) -> bool:
        """Whether any element outside an ISA is padded, so that elements must be stripped."""
        if b" " not in self._cut.text and b"\t" not in self._cut.text:
            return False
        text = np.frombuffer(self._cut.text, np.uint8)
        blank = np.flatnonzero((text == ord(" ")) | (text == ord("\t")))
        element = np.searchsorted(self._offsets[1:], blank, side="right")
        blank, element = blank[element < self._null], element[element < self._null]
        is_edge = (self._offsets[element] == blank) | (self._offsets[element + 1] - 1 == blank)
        padded = np.searchsorted(self._first, element[is_edge], side="right") - 1
        return bool((self._tags[padded] != code("ISA")).any())

    def _bad_ids(self) -> Rows:
        """Find the rows whose segment id is none; ids are few, so each is looked at once."""
        bad = [tag for tag in self._ids if not _SEGMENT_ID.fullmatch(tag.to_bytes(4, "big"))]
        return np.flatnonzero(np.isin(self._tags, bad)) if bad else np.empty(0, np.int64)


def latest(starts: Rows, rows: Rows) -> Rows:
    """Find, for each row, the position in `starts` of the last one at or before it; -1 for none."""
    return np.searchsorted(starts, rows, side="right").astype(np.int64) - 1


def code(text: str) -> int:
    """Pack a code of up to four characters as `Document.codes` does."""
    return int.from_bytes(text.encode().ljust(_CODE_LENGTH, b"\0"), "big")


def taken(values: pl.Series, places: Rows) -> pl.Series:
    """Take values by place; -1 is null."""
    return values[pl.Series(places, dtype=pl.Int64).cast(pl.UInt32, strict=False)]


def _empty_to_null(texts: pl.Series) -> pl.Series:
    return texts.set(texts == "", None)
