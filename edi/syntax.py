"""Syntax: what is wrong with a file before anyone asks what lies in what.

`edi.segments` calls it with what the cutting saw. The envelope is `edi.nesting`'s.
"""

import polars as pl

from edi.delimiters import ISA_LENGTH, Span
from edi.findings import FILE, collect, findings
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
    readable = min(len(isa), len(lengths))
    isa_lengths = pl.DataFrame(
        {"segment": isa[:readable], "length": lengths[:readable]},
        schema={"segment": pl.Int64, "length": pl.Int64},
    )
    return collect(
        findings(
            FILE.filter(pl.lit(shapes == ["junk"])),
            "not_x12",
            "This is not X12: it has neither an ISA nor any segment. Check that the right file was sent.",
            expected="ISA",
        ),
        findings(
            FILE.filter(pl.lit("junk" in shapes and len(shapes) > 1)),
            "text_before_isa",
            "There is text before the first ISA; it is not read.",
            severity="warning",
        ),
        findings(
            FILE.filter(pl.lit("fragment" in shapes)),
            "no_isa",
            "The file does not begin with an ISA; it is read with the delimiters it shows.",
            element="ISA",
            expected="ISA",
        ),
        findings(
            FILE.filter(pl.lit(has_odd_bytes)),
            "not_ascii",
            "The file holds bytes outside ASCII; X12 allows them only by agreement.",
            severity="warning",
        ),
        findings(
            isa_lengths.filter(pl.col("length") != ISA_LENGTH),
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
