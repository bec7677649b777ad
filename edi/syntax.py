"""Syntax: what is wrong with a file before anyone asks what lies in what.

`edi.segments` calls it with what the cutting saw. The envelope is `edi.nesting`'s.
"""

import polars as pl

from edi.delimiters import ISA_LENGTH, Span
from edi.findings import FILE, NONE, collect, findings
from edi.nesting import Rows


def syntax_findings(
    spans: list[Span],
    *,
    isa: Rows,
    bad_ids: Rows,
    cut_short: Rows,
    ends_with_iea: bool,
    has_odd_bytes: bool,
) -> pl.DataFrame:
    """Report what is wrong with a file as text.

    Args:
        spans: Its stretches, as `edi.delimiters` found them.
        isa: Numbers of the ISA segments.
        bad_ids: Numbers of the segments whose id is none.
        cut_short: Number of the last segment, if it lacks its terminator.
        ends_with_iea: Whether the last segment is an IEA.
        has_odd_bytes: Whether any byte lies outside ASCII.
    """
    shapes = [span.shape for span in spans]
    lengths = [span.isa_length for span in spans if span.isa_length is not None]
    odd = [(number, length) for number, length in zip(isa, lengths, strict=False) if length != ISA_LENGTH]
    isa_lengths = pl.DataFrame(odd, {"segment": pl.Int64, "length": pl.Int64}, orient="row")
    return collect(
        findings(
            FILE if shapes == ["junk"] else NONE,
            "not_x12",
            "This is not X12: it has neither an ISA nor any segment. Check that the right file was sent.",
            expected="ISA",
        ),
        findings(
            FILE if "junk" in shapes and len(shapes) > 1 else NONE,
            "text_before_isa",
            "There is text before the first ISA; it is not read.",
            severity="warning",
        ),
        findings(
            FILE if "fragment" in shapes else NONE,
            "no_isa",
            "The file does not begin with an ISA; it is read with the delimiters it shows.",
            element="ISA",
            expected="ISA",
        ),
        findings(
            FILE if has_odd_bytes else NONE,
            "not_ascii",
            "The file holds bytes outside ASCII; X12 allows them only by agreement.",
            severity="warning",
        ),
        findings(
            isa_lengths,
            "isa_length",
            "The ISA has not the fixed length; it is read by its separators.",
            element="ISA",
            found=pl.col("length").cast(pl.String),
            expected=str(ISA_LENGTH),
        ),
        findings(
            pl.DataFrame({"segment": cut_short}),
            "cut_short",
            "The last segment has no terminator: the file may have been cut short.",
            severity="warning" if ends_with_iea else "error",
        ),
        findings(
            pl.DataFrame({"segment": bad_ids}),
            "bad_segment_id",
            "The segment does not begin with a segment id of two or three letters or digits.",
        ),
    )
