"""The gate: whether a file may leave, by our own edits and by an independent judge.

`tasks.translate` asks `check_claims` before a file is released, `rpmclaims check-x12` asks `check_document`
about any file. Our edits (`edi.edits`) look at every claim. pyx12, which shares no code with our writer,
looks at the whole of a small file and at one claim of every shape of a large one (`edi.shapes`). Nothing else
in the house imports pyx12. How to fix a file belongs to its makers; here it is only refused, with places.
"""

import io
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, Final

import polars as pl
import pyx12.errors
import pyx12.params
import pyx12.x12n_document

from edi.claim_places import find_places
from edi.edits import edit_places, with_claim_numbers
from edi.findings import SCHEMA, collect
from edi.reader import read_x12
from edi.segments import Document
from edi.shapes import sample_shapes

# pyx12 judges some 500 claims a second; up to here a file is judged whole.
WHOLE_UP_TO: Final = 2000

# Its logger prints data values.
_LOGGER: Final = logging.getLogger("pyx12")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False

_FAULTS_OF_SEGMENT: Final = {
    "1": "the segment is not expected here or unknown",
    "2": "the segment is not expected here",
    "3": "a mandatory segment is missing",
    "4": "the loop occurs too often",
    "5": "the segment occurs too often",
    "6": "the segment is not part of this transaction set",
    "7": "the segment is out of order",
    "8": "the segment has a faulty element",
}
_FAULTS_OF_ELEMENT: Final = {
    "1": "a mandatory element is missing",
    "2": "an element is missing that another one asks for",
    "3": "there are too many elements",
    "4": "the element is too short",
    "5": "the element is too long",
    "6": "the element has a character it may not have",
    "7": "the code is unknown",
    "8": "the date is no date",
    "9": "the time is no time",
    "10": "the element may not stand beside another one",
    "12": "the element is repeated too often",
    "13": "there are too many components",
}


def check_claims(
    data: bytes, *, today: date, diagnosis_codes: pl.Series | None = None, full: bool = False
) -> pl.DataFrame:
    """Check an 837P file; no row of severity `error` means that it may leave.

    Args:
        data: The bytes of the file.
        today: The day against which dates are in the future.
        diagnosis_codes: The billable ICD-10-CM codes, without dots, when the caller has them.
        full: Whether pyx12 looks at every claim of a large file too.

    Returns:
        Findings in file order, with `claim_number` (CLM01) where one can be told.
    """
    document = Document.read(data)
    places = find_places(document)
    edits = edit_places(places, today, diagnosis_codes)
    sample = None if full or len(places.claims["2300/CLM"]) <= WHOLE_UP_TO else sample_shapes(places)
    judged = judge(data) if sample is None else sample.put_back(judge(sample.data))
    found = collect(document.findings, edits.drop("claim_number"), judged)
    return with_claim_numbers(found, places)


def check_document(
    data: bytes, *, today: date | None = None, diagnosis_codes: pl.Series | None = None, full: bool = False
) -> pl.DataFrame:
    """Check a file of any type: claims by `check_claims`, answers by reading them.

    Returns:
        Findings in file order; `claim_number` is null outside an 837.
    """
    types = set(Document.read(data).transactions["type"])
    found = []
    if "837" in types:
        day = today or datetime.now(tz=UTC).date()
        found.append(check_claims(data, today=day, diagnosis_codes=diagnosis_codes, full=full))
    if types != {"837"}:
        found.append(read_x12(data, "").findings.with_columns(claim_number=pl.lit(None, pl.String)))
    # Both halves report the envelope.
    return pl.concat(found).unique(SCHEMA.keys(), keep="first", maintain_order=True)


def judge(data: bytes) -> pl.DataFrame:
    """Ask pyx12; its findings name places and faults, never values.

    Its verdict counts, not its acknowledgement: a file it refuses without saying why is refused.
    """
    written = io.StringIO()
    parameters = pyx12.params.params()
    try:
        is_accepted = pyx12.x12n_document.x12n_document(
            parameters, io.StringIO(data.decode("latin-1")), None, None, fd_json=written
        )
    except pyx12.errors.EngineError:
        return _finding(
            "pyx12.no_map", "pyx12 knows no transaction set of this version, so it could not judge it."
        )
    except Exception as error:  # noqa: BLE001 - a judge that falls over is a finding, whatever felled it
        return _finding("pyx12.failed", f"pyx12 could not read the file ({type(error).__name__}).")
    report = json.loads(written.getvalue()) if written.getvalue() else {}
    rows = [row for interchange in report.get("interchanges", []) for row in _faults(interchange)]
    found = pl.DataFrame(rows, schema=SCHEMA)
    if not is_accepted and found.is_empty():
        return _finding("pyx12.refused", "pyx12 refuses the file without naming a place.")
    return found


def _faults(node: dict[str, Any], transaction: int | None = None, tag: str = "") -> Iterator[dict[str, Any]]:
    """Walk pyx12's report: interchanges, groups, transactions, segments, elements."""
    line, element = node.get("cur_line"), tag
    known, kind = _FAULTS_OF_SEGMENT, "segment"
    if "ele_pos" in node:
        component = node.get("subele_pos")
        element = (
            f"{tag}{node['ele_pos']:02}" + (f"-{component}" if component else "") if node["ele_pos"] else tag
        )
        known, kind = _FAULTS_OF_ELEMENT, "element"
    elif "seg_id" not in node:
        known, kind = {}, "envelope"
    for error in node.get("errors", []):
        code = str(error["err_cde"])
        yield {
            "severity": "error",
            "rule": f"pyx12.{kind}.{code}",
            "transaction": transaction,
            "segment": line,
            "element": element or None,
            "message": f"pyx12 refuses it: {known.get(code, 'a count, a control number or an id is wrong')}.",
        }
    for level in ("groups", "transactions", "segments", "elements"):
        for number, child in enumerate(node.get(level, []), start=1):
            child.setdefault("cur_line", line)
            inner = number if level == "transactions" else transaction
            yield from _faults(child, inner, _tag(child.get("seg_id")) or element)


def _tag(seg_id: str | None) -> str | None:
    """Name a segment id that is one; what stands in its place otherwise might be anything."""
    return seg_id if seg_id and re.fullmatch(r"[A-Z][A-Z0-9]{1,2}", seg_id) else None


def _finding(rule: str, message: str) -> pl.DataFrame:
    return pl.DataFrame({"severity": ["error"], "rule": [rule], "message": [message]}).select(
        (pl.col(name) if name in ("severity", "rule", "message") else pl.lit(None)).cast(kind).alias(name)
        for name, kind in SCHEMA.items()
    )
