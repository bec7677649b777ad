"""Cutting: the bytes of a file as one text of elements without delimiters, and where each element begins.

`edi.segments` looks values up in it. Nothing is lost: `source` finds the bytes of any run of elements as they
stood. What an element is, or in which segment, does not belong here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

import numpy as np
import numpy.typing as npt

from edi.delimiters import Delimiters, Span
from edi.nesting import Rows

# The C library gives freed memory back to the system, and fresh memory is the slow part of reading; having
# freed one block of this size, never touched, it keeps what is smaller for the next part.
np.empty(31 << 20, np.uint8)

_MOST_IN_LATIN_1 = 1 << 30  # bytes that stay below 2 GiB when Latin-1 becomes UTF-8


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of segments with one set of delimiters, and where it stood in the file."""

    raw: bytes
    delimiters: Delimiters
    encoding: str
    line_breaks: bytes  # the bytes that were dropped: line breaks after a terminator
    first_element: int
    end_element: int
    text_start: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A file, cut.

    Attributes:
        pieces: Its runs of segments.
        text: All elements one behind the other, UTF-8.
        offsets: Where each element begins in the text, in as few bytes as that takes; the last element is
            empty, and absent ones point to it.
        ends: The last element of each segment.
        is_cut_short: Whether the last segment of a piece lacks its terminator.
        has_odd_bytes: Whether any byte lies outside ASCII.
    """

    pieces: list[Piece]
    text: bytes
    offsets: npt.NDArray[np.signedinteger]
    ends: Rows
    is_cut_short: bool
    has_odd_bytes: bool

    def source(self, first: int, end: int) -> bytes:
        """Give back the bytes of the elements from `first` to before `end` as they stood."""
        return b"".join(
            self._source_of(piece, max(first, piece.first_element), min(end, piece.end_element))
            for piece in self.pieces
            if first < piece.end_element and end > piece.first_element
        )

    def _source_of(self, piece: Piece, first: int, end: int) -> bytes:
        """Find where elements stood before line breaks and delimiters were taken out."""
        body = piece.raw if piece.encoding == "utf-8" else piece.raw.decode(piece.encoding).encode()
        dropped = np.flatnonzero(
            np.isin(np.frombuffer(body, np.uint8), np.frombuffer(piece.line_breaks, np.uint8))
        )
        behind = dropped - np.arange(len(dropped))

        def place(element: int) -> int:
            at = int(self.offsets[element]) - piece.text_start + element - piece.first_element
            return at + int(np.searchsorted(behind, at, side="right"))

        # The first segment of a piece owns what stands before it, the last one what follows it.
        start = 0 if first == piece.first_element else place(first)
        stretch = body[start : len(body) if end == piece.end_element else place(end)]
        return stretch if piece.encoding == "utf-8" else stretch.decode().encode(piece.encoding)


def cut(data: bytes | mmap, spans: list[Span]) -> Cut:
    """Find every delimiter; take them out; what is left is one text of elements with known offsets."""
    pieces: list[Piece] = []
    texts: list[bytes] = []
    is_small = sum(span.end - span.start for span in spans) < _MOST_IN_LATIN_1
    width: type[np.signedinteger] = np.int32 if is_small else np.int64
    offsets: list[npt.NDArray[np.signedinteger]] = [np.zeros(1, width)]
    ends: list[Rows] = []
    is_cut_short = has_odd_bytes = False
    elements = text_length = 0
    for raw, delimiters in _runs(data, spans):
        body, encoding = _as_utf_8(raw)
        line_breaks = b"\r\n".replace(delimiters.segment, b"")
        if b"\r" in body or b"\n" in body:
            body = body.translate(None, line_breaks)
        if not _is_closed(body, delimiters):
            body += delimiters.segment
            is_cut_short |= delimiters.segment not in b"\r\n"
        has_odd_bytes |= not raw.isascii()
        marks = np.frombuffer(body, np.uint8)
        is_mark = marks == delimiters.element[0]
        is_mark |= marks == delimiters.segment[0]
        at = np.flatnonzero(is_mark)
        ends.append(np.flatnonzero(marks.take(at) == delimiters.segment[0]) + elements)
        at = at.astype(width, copy=False)
        end = elements + len(at)
        pieces.append(Piece(raw, delimiters, encoding, line_breaks, elements, end, text_length))
        # A delimiter stands behind its element; without the delimiters before it, it marks the element's end.
        at -= np.arange(-text_length, len(at) - text_length, dtype=width)
        offsets.append(at)
        texts.append(body.translate(None, delimiters.element + delimiters.segment))
        elements, text_length = end, text_length + len(texts[-1])
    # Blanks at the very end belong to no element.
    offsets.append(offsets[-1][-1:])
    every_end = np.concatenate([np.zeros(0, np.int64), *ends])
    return Cut(pieces, b"".join(texts), np.concatenate(offsets), every_end, is_cut_short, has_odd_bytes)


def _runs(data: bytes | mmap, spans: list[Span]) -> Iterator[tuple[bytes, Delimiters]]:
    """Put neighbours of the same delimiters together, as long as each ends with its terminator."""
    run: list[Span] = []
    for span in spans:
        if span.shape == "junk":
            continue
        if run and (run[-1].delimiters != span.delimiters or not _ends_closed(data, run[-1])):
            yield data[run[0].start : run[-1].end], run[0].delimiters
            run = []
        run.append(span)
    if run:
        yield data[run[0].start : run[-1].end], run[0].delimiters


def _ends_closed(data: bytes | mmap, span: Span) -> bool:
    return _is_closed(data[max(span.end - 64, span.start) : span.end], span.delimiters)


def _is_closed(body: bytes, delimiters: Delimiters) -> bool:
    """Whether the last segment has its terminator, whatever blanks follow."""
    blanks = b" \t\0\x1a\r\n".replace(delimiters.segment, b"")
    tail = body.rstrip(blanks)
    return not tail or tail.endswith(delimiters.segment)


def _as_utf_8(raw: bytes) -> tuple[bytes, str]:
    """Make UTF-8 of bytes that may be Latin-1, which takes any byte and gives it back."""
    if raw.isascii():
        return raw, "utf-8"
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1").encode(), "latin-1"
    return raw, "utf-8"
