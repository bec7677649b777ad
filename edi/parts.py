"""Parts: a large file cut into documents of bounded size, so that memory does not grow with the file.

`edi.remittance` and `edi.reader` read a file part by part. Only a CLP or an ISA begins a part, so a claim is
never torn; what each part leaves open (`Document.after`) goes on to the next.
"""

from collections.abc import Iterator
from dataclasses import replace
from mmap import mmap

from edi.delimiters import Span, find_spans, let_go
from edi.nesting import NOTHING_BEFORE
from edi.segments import Document

PART_SIZE = 10 << 20  # bytes; each part costs some milliseconds, and memory some thirty times its size


def parts(data: bytes | mmap, size: int = PART_SIZE) -> Iterator[Document]:
    """Cut a large file into documents of about `size` bytes, each begun at an ISA or a CLP.

    Rows count from 0 in each part; segments, interchanges, groups and transactions are numbered in the file.
    """
    before = NOTHING_BEFORE
    for spans in _stretches(data, size):
        document = Document(data, spans, before)
        if isinstance(data, mmap):
            let_go(data, spans[-1].end)
        yield document
        before = document.after
        del document  # before the next one is cut


def _stretches(data: bytes | mmap, size: int) -> Iterator[list[Span]]:
    """Gather small interchanges and split large ones."""
    gathered: list[Span] = []
    for span in find_spans(data):
        piece = span
        while piece.end - piece.start > size and (cut := _claim_start(data, piece, size)) < piece.end:
            yield [*gathered, replace(piece, end=cut)]
            gathered = []
            piece = replace(piece, start=cut, isa_length=None)
        gathered.append(piece)
        if piece.end - gathered[0].start > size:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def _claim_start(data: bytes | mmap, span: Span, size: int) -> int:
    """Find the first CLP segment beyond `size` bytes of a span, or its end."""
    wanted = b"CLP" + span.delimiters.element
    at = data.find(wanted, span.start + size, span.end)
    while at >= 0 and not data[at - 64 : at].rstrip(b" \t\r\n").endswith(span.delimiters.segment.strip()):
        at = data.find(wanted, at + 3, span.end)
    return at if at >= 0 else span.end
