"""Our own edits: a good file has no finding, and each fault is caught by the edit that is meant for it."""

import csv
import re
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from edi.claim_837p import write_claims
from edi.edit_rules import EDITS, FAULTS
from edi.edits import edit_claims
from edi.findings import collect
from edi.segments import Document
from tests.edi.made_837p import ADD_ON, CLAIM, INTERCHANGE, LINE, TODAY, claim_frame, line_frame, many

FILES = Path(__file__).with_name("files")
GOOD = (FILES / "pass" / "837p_minimal.837").read_text("ascii").replace("\n", "")
CODES = pl.Series(["I10", "E119"])
PRIVATE = ("DOE", "JANE", "OAK", "ANYTOWN", "1EG4TE5MK73", "19480102", "75001", "I10")
with (FILES / "fail" / "837p_mutations.csv").open(encoding="utf-8", newline="") as file:
    MUTATIONS = list(csv.DictReader(file))


def found(text: str, today: date = TODAY) -> pl.DataFrame:
    """Judge a text by its envelope and our edits."""
    document = Document.read(text.encode())
    edits = edit_claims(document, today=today, diagnosis_codes=CODES)
    return collect(document.findings, edits.drop("claim_number"))


def with_right_count(text: str) -> str:
    """Count SE01 anew after segments were put in or taken out."""
    count = text[text.index("ST*") : text.index("GE*")].count("~")
    return re.sub(r"SE\*\d+\*", f"SE*{count}*", text)


def test_the_minimal_claim_of_the_guide_has_no_finding() -> None:
    assert found(GOOD).is_empty()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[row["story"] for row in MUTATIONS])
def test_each_fault_is_caught_by_its_own_edit_and_by_no_other(mutation: dict[str, str]) -> None:
    assert mutation["old"] in GOOD
    text = GOOD.replace(mutation["old"], mutation["new"], 1)
    if "SE*" not in mutation["old"]:
        text = with_right_count(text)
    findings = found(text)
    assert set(findings["rule"]) == set(mutation["rules"].split())
    assert findings.filter(pl.col("rule").str.starts_with("837P"))["segment"].null_count() == 0
    shown = " ".join(
        findings.select(pl.concat_str("found", "expected", "message", ignore_nulls=True)).to_series()
    )
    assert not any(private in shown for private in PRIVATE)


def test_every_edit_says_what_to_do() -> None:
    edits = [edit for table in EDITS.values() for edit in table]
    assert len({edit.rule for edit in edits}) == len(edits)
    assert FAULTS.keys() <= {edit.rule for edit in edits}
    for edit in edits:
        assert re.fullmatch(r"837P(\.[12]\d\d\d[A-D]+)?\.[A-Z0-9_-]+\.[a-z_]+", edit.rule), edit.rule
        assert re.search(r"[.]$", edit.message), edit.rule


def test_a_commercial_payer_takes_a_replacement_that_names_its_claim() -> None:
    text = GOOD.replace("*MB~", "*CI~").replace(":B:1*", ":B:7*")
    assert set(found(text)["rule"]) == {"837P.REF_F8.required"}
    assert found(with_right_count(text.replace("HI*", "REF*F8*2026123456~HI*"))).is_empty()


def test_a_member_id_of_another_payer_need_not_be_an_mbi() -> None:
    assert found(GOOD.replace("*MB~", "*CI~").replace("1EG4TE5MK73", "W123456789")).is_empty()


def test_a_name_that_folds_to_nothing_is_refused() -> None:
    claims = claim_frame({"subscriber_last_name": "☺☺", "rendering_first_name": "***"})
    lines = line_frame(LINE, ADD_ON | {"charge": CLAIM["total_charge"]})
    text = write_claims(
        claims.with_columns(total_charge=pl.lit(220).cast(pl.Decimal(12, 2))), lines, INTERCHANGE
    )
    rules = edit_claims(Document.read(text), today=TODAY)["rule"]
    assert set(rules) == {"837P.2010BA.NM103.required", "837P.2310B.NM104.required"}


def test_more_than_fifty_lines_and_thirteen_diagnoses_are_refused() -> None:
    lines = [LINE | {"line_number": n, "line_control_number": f"X-{n}"} for n in range(1, 52)]
    codes = [f"E1{n:02}" for n in range(13)]
    claims = claim_frame({"total_charge": 51 * LINE["charge"], "diagnosis_codes": codes})  # type: ignore[operator]
    document = Document.read(write_claims(claims, line_frame(*lines), INTERCHANGE))
    assert set(edit_claims(document, today=TODAY)["rule"]) == {"837P.CLM.lines", "837P.HI.too_many"}


def test_a_finding_names_its_claim_and_a_fault_of_the_provider_is_said_once() -> None:
    claims, lines = many(9)
    wrong = claims["claim_number"].sort()[4]
    claims = claims.with_columns(
        member_id=pl.when(pl.col("claim_number") == wrong).then(pl.lit("X")).otherwise("member_id"),
        billing_tax_id=pl.lit("1"),
    )
    findings = edit_claims(Document.read(write_claims(claims, lines, INTERCHANGE)), today=TODAY)
    by_rule = findings.group_by("rule").agg("claim_number").sort("rule").rows()
    assert by_rule == [
        ("837P.2010AA.REF02.tax_id", [None, None]),
        ("837P.2010BA.NM109.mbi", [wrong]),
    ]


def test_one_claim_number_on_two_claims_is_caught() -> None:
    claims, lines = many(2)
    text = write_claims(claims, lines, INTERCHANGE).decode()
    first, second = claims["claim_number"].sort().to_list()
    text = text.replace(f"CLM*{second}*", f"CLM*{first}*")
    assert found(text)["rule"].to_list() == ["837P.CLM01.unique"] * 2


def test_institutional_claims_are_named_and_not_judged_by_professional_edits() -> None:
    text = GOOD.replace("005010X222A1", "005010X223A2").replace("SV1*", "SV2*")
    assert set(found(text)["rule"]) == {"837P.ST03.implementation"}


@pytest.mark.parametrize(
    "data", [b"", b"no X12 at all", b"ISA*00*", b"CLM*1~", b"ST*837*1~HL~CLM~LX~SV1~HI~DTP~NM1~SE~"]
)
def test_whatever_the_bytes_are_the_edits_answer(data: bytes) -> None:
    findings = edit_claims(Document.read(data), today=TODAY)
    assert not findings.is_empty()
    assert findings["severity"].eq("error").any()
