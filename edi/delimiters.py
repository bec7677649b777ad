"""Delimiters: where the interchanges of a file begin, and which characters part their elements.

`edi.segments` cuts with them. An ISA says its own delimiters by position; files by real senders pad it
wrongly, leave its last element out or have none at all, so this module looks twice before it believes the
position.
Nothing here knows what a segment means.
"""

import re
from dataclasses import dataclass, replace
from mmap import MADV_DONTNEED, PAGESIZE, mmap
from typing import Literal

ISA_LENGTH = 106

# ISA01 and ISA03 are two digits; that keeps a person called Isa in an NM1 from starting an interchange.
_ISA = re.compile(rb"ISA([^A-Za-z0-9 \r\n\v\f\x80-\xff])[0-9 ]{2}\1[^\r\n]{0,14}?\1[0-9 ]{2}\1")
_FRAGMENT = re.compile(
    rb"(?:^|[\s~\xbf])(ISA|GS|ST|BHT|BPR|TRN|TA1|AK[1-9]|IK[345]|CTX|N[134]|NM1|PER|REF|DTM|DTP|LX|CLP|CAS|SVC|MIA"
    rb"|MOA|AMT|QTY|LQ|PLB|HL|STC|PRV|SBR|CLM|HI|SV1|SE|GE|IEA)([*|+^\x1d])"
)
_FRAGMENT_WINDOW = 65_536
_WINDOW = 16 << 20  # bytes of a large file looked at before they are let go


@dataclass(frozen=True, slots=True)
class Delimiters:
    """One byte each, ASCII; no repetition separator before version 5010."""

    element: bytes = b"*"
    component: bytes = b":"
    segment: bytes = b"~"
    repetition: bytes | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a file with one set of delimiters: an interchange, or what there is of one."""

    start: int
    end: int
    delimiters: Delimiters
    isa_length: int | None  # null when there is no readable ISA
    shape: Literal["interchange", "fragment", "junk"]


def find_spans(data: bytes | mmap) -> list[Span]:
    """Find every interchange of a file; text before the first one is a span of shape `junk`.

    A file without an ISA that shows segments is one `fragment`; without segments it is all `junk`.
    """
    starts = _interchange_starts(data)
    size = len(data)
    if not starts:
        return [_fragment(data)]
    spans = []
    if starts[0] and data[: starts[0]].strip(b"\xef\xbb\xbf \t\r\n"):
        spans.append(Span(0, starts[0], Delimiters(), None, "junk"))
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        delimiters, length = _read_isa(data, start)
        spans.append(Span(start, end, delimiters, length, "interchange"))
    return spans


def _interchange_starts(data: bytes | mmap) -> list[int]:
    """Find the offset of every ISA that is a segment and not a word."""
    starts = []
    for window in range(0, len(data), _WINDOW):
        # Backwards, for that is the faster way.
        at = data.rfind(b"ISA", window, window + _WINDOW + 2)
        while at >= 0:
            if (at == 0 or not data[at - 1 : at].isalnum()) and _ISA.match(data, at):
                starts.append(at)
            at = data.rfind(b"ISA", window, at)
        if isinstance(data, mmap):
            let_go(data, window)
    return sorted(starts)


def let_go(data: mmap, end: int) -> None:
    """Let the system take back the memory in which it showed a file up to here; it can be read again."""
    data.madvise(MADV_DONTNEED, 0, end // PAGESIZE * PAGESIZE)


def _read_isa(data: bytes | mmap, start: int) -> tuple[Delimiters, int]:
    """Read the delimiters of the ISA at `start`, and its length with its terminator."""
    window = data[start : start + 512]
    element = window[3:4]
    at = -1
    for _ in range(16):
        at = window.find(element, at + 1)
        if at < 0:
            break
    header = re.search(rb"[^A-Za-z0-9](?:GS|TA1|IEA|ST)" + re.escape(element), window)
    if at < 0 or (header is not None and header.start() < at):
        return _isa_of_wrong_width(window, element, header)
    component, segment = window[at + 1 : at + 2], window[at + 2 : at + 3]
    length = at + 3
    line = window[at + 2 :].strip().split(b"\n", 1)[0].rstrip()
    if not segment or segment.isalnum() or (segment in b"\r\n" and line.endswith(component)):
        # ISA16 was left out: what stands in its place ends the segment.
        component, segment, length = b":", component, at + 2
    if segment == b"\r" and window[length : length + 1] == b"\n":
        segment = b"\n"
    elements = window[:at].split(element)
    repetition = elements[11] if len(elements[11]) == 1 and not elements[11].isalnum() else None
    return _usable(Delimiters(element, component, segment, repetition)), length


def _isa_of_wrong_width(
    window: bytes, element: bytes, header: re.Match[bytes] | None
) -> tuple[Delimiters, int]:
    """Take the terminator from what stands before the next segment, when the ISA lacks elements."""
    if header is None:
        return _usable(Delimiters(element, segment=b"~" if b"~" in window else b"\n")), len(window.rstrip())
    isa = window[: header.start() + 1].rstrip()
    segment = isa[-1:] if not isa[-1:].isalnum() and isa[-1:] != element else b"\n"
    return _usable(Delimiters(element, segment=segment)), len(isa)


def _usable(delimiters: Delimiters) -> Delimiters:
    """Replace what cannot part anything."""
    element, component, segment = delimiters.element, delimiters.component, delimiters.segment
    if not segment.isascii() or segment in (element, b" ", b""):
        segment = b"~" if element != b"~" else b"\n"
    if not component.isascii() or component.isalnum() or component in (element, segment, b"\r", b"\n", b""):
        component = next(mark for mark in (b":", b">") if mark not in (element, segment))
    repetition = delimiters.repetition
    if repetition is not None and (
        not repetition.isascii() or repetition in (element, component, segment, b" ")
    ):
        repetition = None
    return replace(delimiters, component=component, segment=segment, repetition=repetition)


def _fragment(data: bytes | mmap) -> Span:
    """Read a piece of a file that has no ISA with the delimiters it shows."""
    window = data[:_FRAGMENT_WINDOW]
    first = _FRAGMENT.search(window)
    if first is None:
        return Span(0, len(data), Delimiters(), None, "junk")
    element = first.group(2)
    segment = b"~" if b"~" in window else b"\n"
    composites = re.finditer(
        re.escape(element) + rb"(?:HC|ABK|BK|NU|WO|FB|A[0-8])([^A-Za-z0-9\s\x80-\xff])", window
    )
    marks = (composite.group(1) for composite in composites)
    component = next((mark for mark in marks if mark not in (element, segment)), b":")
    return Span(first.start(1), len(data), _usable(Delimiters(element, component, segment)), None, "fragment")
