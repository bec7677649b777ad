"""Benchmark: writing, reading back and judging 837P claims, beside pyx12's writer and a loop of f-strings.

Run it as a script for a table; `make bench` collects `run()`. Every writer writes the same claims; the loop's
bytes are compared with ours before its time counts.
"""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyx12.segment
import pyx12.x12file

from edi.claim_837p import read_claims, write_claims
from edi.edits import edit_claims
from edi.envelope import interchange_header, interchange_trailer, transaction_header, transaction_trailer
from edi.segments import Document
from tests.edi.made_837p import INTERCHANGE, TODAY, many

CLAIMS = 200_000
LINES = 3
SHARE = 4_000  # claims that pyx12 writes
WRITER_GOAL_PYX12 = 60.0
WRITER_GOAL_LOOP = 5.0


_FIRST_NAMES = ("JANE", "JOHN", "MARIA", "ROSA LEE", "CHRISTOPHER", "AL", "BEATRICE")
_CITIES = ("ANYTOWN", "SPRINGFIELD", "NEW HAVEN", "LEE", "PORT WASHINGTON")
_RENDERING = {
    "rendering_npi": ("1245319599", "1234567893", "1679576722", "1588667638"),
    "rendering_last_name": ("SMITH", "NAVARRO-OKAFOR", "LI", "ANDERSON"),
    "rendering_first_name": ("ALEX", "GUADALUPE", "WEI", "PAT"),
}
_DIAGNOSES = (["I10", "E119"], ["I509"], ["J449", "I10", "E785"])


def month() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Make the claims of many patients, as unlike each other as those of a real file to one contractor."""
    claims, lines = many(CLAIMS, LINES)
    row = pl.int_range(pl.len())
    claims = claims.with_columns(
        subscriber_first_name=_one_of(_FIRST_NAMES),
        subscriber_middle_name=pl.when(row % 4 > 0).then(pl.lit("M")),
        member_id=pl.format(
            "{}EG{}TE{}MK{}",
            row % 9 + 1,
            row // 9 % 10,
            row // 90 % 10,
            (row // 900 % 100).cast(pl.String).str.zfill(2),
        ),
        subscriber_city=_one_of(_CITIES),
        subscriber_postal_code=pl.format("75{}", (row % 613).cast(pl.String).str.zfill(3)),
        subscriber_sex=_one_of(("F", "M")),
        diagnosis_codes=_one_of(_DIAGNOSES),
        **{name: _one_of(values) for name, values in _RENDERING.items()},
    )
    pointers = pl.when(row // LINES % len(_DIAGNOSES) == 1).then([1]).otherwise([1, 2])
    return claims, lines.with_columns(diagnosis_pointers=pointers)


def _one_of(values: Sequence[object]) -> pl.Expr:
    return pl.lit(pl.Series(values)).gather(pl.int_range(pl.len()) % len(values))


@dataclass(frozen=True)
class Ready:
    """The claims as plain tuples in file order, so that the loop pays for writing alone."""

    claims: list[tuple[Any, ...]]
    lines: list[tuple[Any, ...]]


def ready(claims: pl.DataFrame, lines: pl.DataFrame) -> Ready:
    """Sort as the file is sorted, and leave the frames."""
    ordered = claims.sort("billing_npi", "claim_number").with_row_index("place")
    placed = lines.join(ordered.select("claim_number", "place"), on="claim_number").sort(
        "place", "line_number"
    )
    return Ready(ordered.drop("place").rows(), placed.drop("place").rows())


def amount(value: object) -> str:
    """Write money without trailing zeros."""
    text = f"{value}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def loop(made: Ready) -> bytes:
    """Write the interchange with one f-string a claim and a line, as a careful script would."""
    out = [interchange_header(INTERCHANGE)]
    most = INTERCHANGE.max_claims_per_transaction
    lines = iter(made.lines)
    line = next(lines, None)
    number, segments = 0, 0
    for place, claim in enumerate(made.claims):
        (name, total, pos, frequency, assigned, benefits, release, _f8, _ea, codes, npi, *provider) = claim[
            :18
        ]
        last, first, middle, member, street, city, state, postal, born, sex, filing, payer, payer_id = claim[
            18:31
        ]
        render = claim[31:]
        if place % most == 0:
            if number:
                out.append(transaction_trailer(segments, number))
            number += 1
            out.append(transaction_header(INTERCHANGE, number))
            segments, level, current = 5, 0, None
        if npi != current:
            current, level = npi, level + 1
            parent = level
            out.append(
                f"HL*{level}**20*1~PRV*BI*PXC*{provider[2]}~NM1*85*2*{provider[0]}*****XX*{npi}~N3*{provider[3]}~"
                f"N4*{provider[4]}*{provider[5]}*{provider[6]}~REF*EI*{provider[1]}~"
            )
            segments += 6
        level += 1
        diagnoses = "*ABF:".join(codes)
        out.append(
            f"HL*{level}*{parent}*22*0~SBR*P*18*******{filing}~"
            f"NM1*IL*1*{last}*{first}*{middle or ''}***MI*{member}~"
            f"N3*{street}~N4*{city}*{state}*{postal}~DMG*D8*{born:%Y%m%d}*{sex}~"
            f"NM1*PR*2*{payer}*****PI*{payer_id}~"
            f"CLM*{name}*{amount(total)}***{pos}:B:{frequency}*Y*{assigned}*{benefits}*{release}~"
            f"HI*ABK:{diagnoses}~"
            f"NM1*82*1*{render[1]}*{render[2]}****XX*{render[0]}~PRV*PE*PXC*{render[3]}~"
        )
        segments += 11
        while line is not None and line[0] == name:
            _, count, code, modifiers, charge, units, day, control, pointers = line
            pointed = ":".join(map(str, pointers))
            procedure = ":".join(["HC", code, *modifiers])
            out.append(
                f"LX*{count}~SV1*{procedure}*{amount(charge)}*UN*{units}***{pointed}~DTP*472*D8*{day:%Y%m%d}~"
                f"REF*6R*{control}~"
            )
            segments += 4
            line = next(lines, None)
    out += [transaction_trailer(segments, number), interchange_trailer(INTERCHANGE, number)]
    return "".join(out).encode("ascii")


def pyx12_writer(segments: list[pyx12.segment.Segment]) -> None:
    """Write segments that are ready made; building them is not counted."""
    writer = pyx12.x12file.X12Writer(io.StringIO(), "~", "*", ":", "", "^")
    for segment in segments:
        writer.Write(segment)


def _seconds(*tasks: Callable[[], object], rounds: int = 5) -> list[float]:
    """Take the best time of each task; they run in turn, so that all meet the same machine."""

    def once(task: Callable[[], object]) -> float:
        start = time.perf_counter()
        task()
        return time.perf_counter() - start

    times = [[once(task) for task in tasks] for _ in range(rounds)]
    return [min(of_task) for of_task in zip(*times, strict=True)]


def run() -> list[dict[str, Any]]:
    """Measure all, in one process, one after the other.

    Returns:
        name, value (claims per second), unit, goal and ratio (null where no peer is named).
    """
    claims, lines = month()
    made = ready(claims, lines)
    data = write_claims(claims, lines, INTERCHANGE)
    if loop(made) != data:
        raise AssertionError("The loop does not write the same bytes, so its time says nothing.")
    document = Document.read(data)
    share = write_claims(claims.head(SHARE), lines.head(SHARE * LINES), INTERCHANGE).decode()
    segments = [pyx12.segment.Segment(text, "~", "*", ":") for text in share.split("~") if text]

    seconds = _seconds(
        lambda: write_claims(claims, lines, INTERCHANGE), lambda: loop(made), lambda: pyx12_writer(segments)
    )
    ours, by_loop, by_pyx12 = (
        count / taken for count, taken in zip((CLAIMS, CLAIMS, SHARE), seconds, strict=True)
    )
    read, judged = (
        CLAIMS / taken
        for taken in _seconds(
            lambda: read_claims(Document.read(data)), lambda: edit_claims(document, today=TODAY), rounds=3
        )
    )
    rows = (
        ("837P written, beside pyx12's writer", ours, WRITER_GOAL_PYX12, ours / by_pyx12),
        ("837P written, beside an f-string loop", ours, WRITER_GOAL_LOOP, ours / by_loop),
        ("837P written by pyx12's writer", by_pyx12, None, None),
        ("837P written by an f-string loop", by_loop, None, None),
        ("837P read back", read, None, None),
        ("837P judged by our edits", judged, None, None),
    )
    return [
        {"name": name, "value": round(value), "unit": "claims/s", "goal": goal, "ratio": ratio}
        for name, value, goal, ratio in rows
    ]


if __name__ == "__main__":
    with pl.Config(tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=60):
        print(pl.DataFrame(run(), schema_overrides={"goal": pl.Float64, "ratio": pl.Float64}))
