"""TA1, 999 and 997: what became of our interchange, group and transaction sets, and where the fault was."""

from pathlib import Path

from edi.acknowledgement import Acknowledgements, read_acknowledgements
from edi.segments import Document

PASS = Path(__file__).parent / "files/pass"
FAIL = Path(__file__).parent / "files/fail"


def read(path: Path) -> Acknowledgements:
    return read_acknowledgements(Document.read(path.read_bytes()))


def test_every_ta1_of_an_interchange_is_read() -> None:
    frame = read(PASS / "ta1_accepted_and_duplicate.edi").acknowledgements
    assert frame.select("kind", "interchange_control_number", "code", "note_code").rows() == [
        ("TA1", "000000041", "A", "000"),
        ("TA1", "000000042", "R", "025"),
    ]
    assert frame["transaction"].null_count() == 2


def test_a_999_gives_a_row_for_each_set_and_one_for_the_group() -> None:
    frame = read(PASS / "999_one_of_two_sets_rejected.edi").acknowledgements
    columns = ("level", "group_control_number", "transaction_control_number", "code", "note_code")
    assert frame.select(columns).rows() == [
        ("transaction", "501", "0001", "A", None),
        ("transaction", "501", "0002", "R", "5"),
        ("group", "501", None, "P", None),
    ]
    counts = ("included_count", "received_count", "accepted_count")
    assert frame.select(counts).row(2) == (2, 2, 1)


def test_a_group_accepted_without_a_word_on_its_sets_is_legal() -> None:
    result = read(PASS / "999_group_accepted_without_a_word_on_sets.edi")
    assert result.acknowledgements.select("level", "code", "accepted_count").rows() == [("group", "A", 3)]
    assert result.findings.is_empty()


def test_each_fault_names_its_segment_element_and_our_claim() -> None:
    errors = read(PASS / "999_one_of_two_sets_rejected.edi").errors
    columns = (
        "transaction_control_number",
        "error_segment_id",
        "error_segment_position",
        "error_loop",
        "segment_code",
        "element_position",
        "component_position",
        "element_code",
        "claim_number",
    )
    assert errors.select(columns).rows() == [
        ("0002", "NM1", 22, "2010BA", "8", 9, None, "7", "R2610ABCDEFGHIJK1"),
        ("0002", "HI", 25, "2300", "8", 1, 2, "I9", "R2610ABCDEFGHIJK2"),
        ("0002", "SV1", 30, "2400", "3", None, None, None, None),
    ]


def test_the_bad_value_stays_in_the_frame_and_out_of_the_findings() -> None:
    document = Document.read((PASS / "999_one_of_two_sets_rejected.edi").read_bytes())
    result = read_acknowledgements(document)
    assert result.errors["bad_value"].to_list() == ["1EG4TE5MK7", None, None]
    assert "1EG4TE5MK7" not in result.findings.write_json()


def test_the_older_form_997_is_read_alike() -> None:
    data = (PASS / "999_one_of_two_sets_rejected.edi").read_bytes()
    for new, old in ((b"ST*999", b"ST*997"), (b"IK3", b"AK3"), (b"IK4", b"AK4"), (b"IK5", b"AK5")):
        data = data.replace(new, old)
    old_form = read_acknowledgements(Document.read(data))
    new_form = read(PASS / "999_one_of_two_sets_rejected.edi")
    assert old_form.acknowledgements["kind"].unique().to_list() == ["997"]
    assert old_form.acknowledgements.drop("kind").equals(new_form.acknowledgements.drop("kind"))
    assert old_form.errors.drop("kind").equals(new_form.errors.drop("kind"))


def test_a_set_answered_twice_keeps_its_first_answer() -> None:
    result = read(FAIL / "999_answered_twice.edi")
    assert result.acknowledgements["code"].to_list() == ["A", "R", "P"]
    assert result.findings["rule"].to_list() == ["code_out_of_place"]


def test_a_set_without_an_answer_is_told() -> None:
    result = read(FAIL / "999_without_ik5.edi")
    assert result.acknowledgements["code"].to_list() == [None, "R", "P"]
    assert result.findings.select("rule", "element").rows() == [("missing_code", "IK501")]
