"""The gate: our edits and the independent judge together let good files through and nothing else."""

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edi.check import check_claims, check_document, judge
from edi.claim_837p import write_claims
from edi.claim_places import find_places
from edi.segments import Document
from edi.shapes import sample_shapes
from tests.edi.made_837p import INTERCHANGE, TODAY, claim_frame, example, line_frame, many

FILES = Path(__file__).with_name("files")
GOOD = (FILES / "pass" / "837p_minimal.837").read_text("ascii").replace("\n", "")
# What pyx12 refuses by itself, and our edits as well.
REFUSED_BY_BOTH = (
    ("SBR*P*", "SBR*Q*"),
    ("DTP*472*D8*20261128", "DTP*472*D8*20261328"),
    ("SE*31*", "SE*32*"),
    ("CLM*RPM2611A0000017*", f"CLM*{'A' * 40}*"),
)


def rules(findings: pl.DataFrame) -> set[str]:
    return set(findings["rule"])


def plant(data: bytes, claim_number: str, segment: str) -> bytes:
    """Put a segment behind the diagnoses of one claim, and count the set's segments anew."""
    text = re.sub(rf"(CLM\*{claim_number}\*[^~]*~HI\*[^~]*~)", rf"\g<1>{segment}~", data.decode())
    return re.sub(r"SE\*(\d+)\*", lambda found: f"SE*{int(found[1]) + 1}*", text, count=1).encode()


def test_a_written_file_passes_both_judges() -> None:
    claims, lines = many(30)
    assert check_claims(write_claims(claims, lines, INTERCHANGE), today=TODAY).is_empty()


@pytest.mark.parametrize(
    "change",
    [
        {"place_of_service_code": "12", "subscriber_middle_name": "Q", "medical_record_number": "MRN1"},
        {"claim_filing_code": "CI", "frequency_code": "7", "payer_claim_control_number": "2026123"},
        {"claim_filing_code": "CI", "frequency_code": "8", "payer_claim_control_number": "2026123"},
        {"rendering_npi": None, "billing_taxonomy_code": None, "subscriber_sex": "U"},
        {"diagnosis_codes": [f"E1{n:02}" for n in range(12)], "subscriber_postal_code": "750010001"},
        {"subscriber_last_name": "O'Brien-Núñez, Jr.", "subscriber_address_line": "1 Rue de l'Église #4"},
    ],
)
def test_every_optional_part_passes_both_judges(change: dict[str, object]) -> None:
    claims, lines = example()
    lines = lines.with_columns(modifiers=pl.lit(["25", "59", "76", "77"]))
    data = write_claims(claims.with_columns(**_columns(change)), lines, INTERCHANGE)
    assert check_claims(data, today=TODAY).is_empty()


def _columns(change: dict[str, object]) -> dict[str, pl.Series]:
    made = claim_frame(change)
    return {name: made[name] for name in change}


@pytest.mark.parametrize(("old", "new"), REFUSED_BY_BOTH)
def test_what_the_independent_judge_refuses_our_edits_refuse_too(old: str, new: str) -> None:
    found = check_claims(GOOD.replace(old, new, 1).encode(), today=TODAY)
    by_judge = found.filter(pl.col("rule").str.starts_with("pyx12."))
    assert not by_judge.is_empty()
    assert by_judge.height < found.height
    assert set(found["severity"]) == {"error"}


def test_findings_of_the_judge_name_places_and_never_values(capfd: pytest.CaptureFixture[str]) -> None:
    bad = GOOD.replace("NM1*IL*1*DOE*JANE", "NM1*IL*1*DOE*JANE*****ZZ*DOEJANE").replace("19480102", "1948DOE")
    found = judge(bad.encode())
    assert found.height > 0
    assert {"NM103", "DMG02"} & set(found["element"]) or found["segment"].null_count() < found.height
    shown = " ".join(found.select(pl.concat_str(pl.all().cast(pl.String), ignore_nulls=True)).to_series())
    assert "DOE" not in shown
    assert capfd.readouterr() == ("", "")


def test_a_file_of_an_unknown_version_is_refused_in_plain_words() -> None:
    found = check_claims(GOOD.replace("005010X222A1", "009999X999").encode(), today=TODAY)
    assert {"pyx12.no_map", "837P.ST03.implementation"} <= rules(found)


@pytest.mark.parametrize("data", [b"", b"\0\xff", b"not X12", GOOD[:200].encode(), GOOD[50:].encode()])
def test_anything_that_is_no_whole_file_is_refused_without_a_traceback(data: bytes) -> None:
    found = check_claims(data, today=TODAY)
    assert found.filter(severity="error").height > 0
    assert check_document(data).filter(severity="error").height > 0


@settings(deadline=None, max_examples=15)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 40), st.binary(max_size=12))
def test_a_damaged_file_is_judged_and_never_raises(at: int, cut: int, put: bytes) -> None:
    data = GOOD[:at].encode() + put + GOOD[at + cut :].encode()
    found = check_document(data, today=TODAY)
    assert found.columns[-1] == "claim_number"


# ---- large files: one claim of every shape ----


@pytest.fixture(scope="module")
def large() -> bytes:
    """More claims than the judge looks at one by one, of few shapes."""
    claims, lines = many(2100, 2)
    return write_claims(claims, lines, INTERCHANGE)


def test_a_large_file_is_packed_into_one_valid_claim_of_each_shape(large: bytes) -> None:
    sample = sample_shapes(find_places(Document.read(large)))
    assert sample is not None
    packed = Document.read(sample.data)
    assert packed.findings.is_empty()
    assert len(packed.rows("CLM")) == 2  # with and without a modifier
    assert judge(sample.data).is_empty()
    assert check_claims(large, today=TODAY).is_empty()


def test_a_fault_in_a_rare_shape_of_a_large_file_is_caught_and_named(large: bytes) -> None:
    number = "R2611000000015001"
    found = check_claims(plant(large, number, "REF*ZZ*1"), today=TODAY)
    assert found.select("claim_number", "element").unique().rows() == [(number, "REF")]
    at = found["segment"][0] - 1
    assert large.split(b"~")[at - 1].startswith(b"HI*")


def test_every_distinct_shape_is_sampled_once() -> None:
    claims, lines = many(12)
    claims = claims.with_row_index().with_columns(
        medical_record_number=pl.when(pl.col("index") == 5).then(pl.lit("MRN")),
        diagnosis_codes=pl.when(pl.col("index") == 7).then(pl.lit(["I10"])).otherwise("diagnosis_codes"),
        rendering_npi=pl.when(pl.col("index") != 9).then("rendering_npi"),
    )
    lines = lines.join(claims.filter(pl.col("index") == 11), on="claim_number", how="anti")
    one = line_frame({"claim_number": claims["claim_number"][11], "modifiers": ["25"]})
    data = write_claims(claims, pl.concat([lines, one]), INTERCHANGE)
    sample = sample_shapes(find_places(Document.read(data)))
    assert sample is not None
    packed = Document.read(sample.data)
    assert packed.findings.is_empty()
    # Six claims as they come, two with a modifier, and four odd ones; the header has no shape.
    assert len(packed.rows("CLM")) == 6
    assert sorted(set(sample.claims_of_shape.tolist())) == [0, 1, 2, 6]
    assert judge(sample.data).is_empty()


def test_the_full_check_judges_every_claim(large: bytes) -> None:
    """Two claims of one shape at fault: the sample names the first, the full check both."""
    data = large
    for number in ("R2611000000003001", "R2611000000006001"):
        data = plant(data, number, "REF*ZZ*1")
    assert check_claims(data, today=TODAY)["claim_number"].n_unique() == 1
    full = check_claims(data, today=TODAY, full=True)
    assert full["claim_number"].unique().sort().to_list() == ["R2611000000003001", "R2611000000006001"]


# ---- any file ----


def test_a_claim_file_among_any_files_is_checked_as_one() -> None:
    assert check_document(GOOD.encode(), today=TODAY).is_empty()
    found = check_document(GOOD.replace("*160*", "*170*").encode(), today=TODAY)
    assert rules(found) == {"837P.CLM02.balance"}


def test_an_answer_is_checked_by_reading_it() -> None:
    ta1 = GOOD[:106] + "TA1*000000123*261201*0105*A*000~IEA*0*000000123~"
    assert check_document(ta1.encode()).is_empty()
    found = check_document(ta1.replace("IEA*0", "IEA*2").encode())
    assert rules(found) == {"iea01_count"}
    assert found["claim_number"].to_list() == [None]
