"""The edits of an 837P that look at every text alike: its length and its characters.

`edi.edits` runs them. What an element means does not matter here.
"""

import re
from typing import Final

import polars as pl

from edi.claim_columns import BASIC_SET
from edi.delimiters import find_spans
from edi.findings import SCHEMA, findings
from edi.segments import Document

_WITH_LINE_BREAKS: Final = BASIC_SET + b"\r\n"
# The longest texts a receiver keeps: tag, element, characters.
LONGEST: Final = (
    ("NM1", 3, 60),
    ("NM1", 4, 35),
    ("NM1", 5, 25),
    ("NM1", 9, 80),
    ("N3", 1, 55),
    ("N3", 2, 55),
    ("N4", 1, 30),
    ("PER", 2, 60),
    ("REF", 2, 50),
)


def too_long(document: Document) -> list[pl.DataFrame]:
    """Find texts longer than a receiver keeps."""
    found = []
    for tag, position, longest in LONGEST:
        rows, transaction = document.rows_in("837", tag)
        length = document.element(rows, position).str.len_chars().fill_null(0)
        places = pl.DataFrame(
            {"segment": document.number(rows), "transaction": transaction, "length": length}
        )
        found.append(
            findings(
                places.filter(pl.col("length") > longest),
                f"837P.{tag}{position:02}.length",
                "The text is longer than its element; a receiver would cut or refuse it. Shorten it.",
                element=f"{tag}{position:02}",
                expected=f"{longest} characters at most",
            )
        )
    return found


def outside_basic_set(document: Document) -> pl.DataFrame:
    """Find characters that X12's basic set does not have: lower case, symbols, control characters."""
    nothing = pl.DataFrame(schema=SCHEMA)
    if len(document) == 0:
        return nothing
    source = document.source(0, len(document) - 1)
    marks = [span.delimiters for span in find_spans(source)]
    used = b"".join(mark.element + mark.component + mark.segment + (mark.repetition or b"") for mark in marks)
    if not source.translate(None, _WITH_LINE_BREAKS + used):
        return nothing
    # Only now is every element looked at; the ISA's own delimiters are not data.
    allowed = re.escape((_WITH_LINE_BREAKS + used).decode("latin-1"))
    segments = document.segments.filter((pl.col("tag") != "ISA").fill_null(value=True))
    found = [nothing]
    most = max(document.segments["element_count"], default=0)
    # What stands where a segment id should might be anything; it is not shown.
    tag = pl.when(pl.col("tag").str.contains(r"^[A-Z][A-Z0-9]{1,2}$")).then("tag")
    for position in range(most + 1):
        texts = document.element(segments["segment"].to_numpy() - document.number([0]), position)
        faulty = segments.filter(texts.str.contains(f"[^{allowed}]"))
        found.append(
            findings(
                faulty,
                "837P.charset.basic",
                "The text has characters outside X12's basic set: capitals, digits, punctuation. Fold it.",
                element=tag + f"{position:02}",
            )
        )
    return pl.concat(found)
