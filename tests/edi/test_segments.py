"""The tokenizer: whatever the bytes are, they are cut, numbered and given back."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edi.delimiters import find_spans
from edi.elements import code
from edi.parts import parts
from edi.segments import Document

FILES = Path(__file__).parent / "files"
ISA = (
    b"ISA*00*          *00*          *ZZ*PAYER          *ZZ*CLINIC         "
    b"*261110*1200*^*00501*000000001*0*T*:~"
)
BODY = (
    b"GS*HP*PAYER*CLINIC*20261110*1200*1*X*005010X221A1~ST*835*0001~BPR*I*5~SE*3*0001~GE*1*1~IEA*1*000000001~"
)


def tags(document: Document) -> list[str]:
    return document.segments["tag"].to_list()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data, id="as it should be"),
        pytest.param(lambda data: b"\xef\xbb\xbf" + data, id="byte order mark"),
        pytest.param(lambda data: data.replace(b"~", b"~\n"), id="line feeds"),
        pytest.param(lambda data: data.replace(b"~", b"~\r\n"), id="carriage returns and line feeds"),
        pytest.param(lambda data: data.replace(b"~", b"~\r\n\r\n"), id="blank lines"),
        pytest.param(lambda data: data.replace(b"~", b"~\n\t  "), id="indented"),
        pytest.param(lambda data: data.replace(b"~", b"\n"), id="line feed as terminator"),
        pytest.param(lambda data: data.replace(b"~", b"\r\n"), id="CRLF as terminator"),
        pytest.param(lambda data: data.replace(b"~", b"\r"), id="carriage return as terminator"),
        pytest.param(lambda data: data.replace(b"*", b"\t"), id="tabs between elements"),
        pytest.param(lambda data: data.replace(b"*", b"|").replace(b"~", b"\x1d"), id="other delimiters"),
        pytest.param(lambda data: data + b"\r\n\r\n  \x1a", id="blanks at the end"),
    ],
)
def test_layout_changes_nothing_about_the_segments(change: object) -> None:
    assert callable(change)
    document = Document.read(change(ISA + BODY))
    assert tags(document) == ["ISA", "GS", "ST", "BPR", "SE", "GE", "IEA"]
    assert document.findings.is_empty()
    assert document.element(document.rows("BPR"), 2).to_list() == ["5"]
    assert document.transactions.select("type", "control_number", "implementation", "usage").rows() == [
        ("835", "0001", "005010X221A1", "T")
    ]


@pytest.mark.parametrize("path", sorted(FILES.glob("*/*")), ids=lambda path: path.name)
def test_every_byte_of_a_file_is_given_back(path: Path) -> None:
    data = path.read_bytes()
    document = Document.read(data)
    if len(document):
        whole = document.source(0, len(document) - 1)
        # Text before the first ISA is no segment.
        assert data.endswith(whole)
        each = b"".join(document.source(row, row) for row in range(len(document)))
        assert each == whole


def test_a_segment_is_given_back_as_it_stood_in_the_file() -> None:
    document = Document.read((ISA + BODY).replace(b"~", b"~\r\n").replace(b"BPR*I", b"B\xc9R*\xe9"))
    row = int(document.rows("ST")[0]) + 1
    assert document.source(row, row).strip() == b"B\xc9R*\xe9*5~"
    assert document.element([row], 1).to_list() == ["é"]


def test_an_unknown_segment_remains_available_by_its_place() -> None:
    document = Document.read(ISA + BODY.replace(b"BPR*I*5~", b"ZZZ*A:B**C~BPR*I*5~"))
    row = document.rows("ZZZ")
    assert document.number(row).tolist() == [4]
    assert [document.element(row, position).to_list()[0] for position in range(5)] == [
        "ZZZ",
        "A:B",
        None,
        "C",
        None,
    ]
    assert document.component(row, 1, 2).to_list() == ["B"]
    assert document.component(row, 1, 3).to_list() == [None]


def test_a_repeating_element_is_split_only_where_the_isa_names_a_separator() -> None:
    body = BODY.replace(b"BPR*I*5", b"BPR*A^B*5")
    new, old = Document.read(ISA + body), Document.read(ISA.replace(b"*^*", b"*U*") + body)
    assert new.repetitions(new.rows("BPR"), 1).to_list() == [["A", "B"]]
    assert old.repetitions(old.rows("BPR"), 1).to_list() == [["A^B"]]


def test_each_interchange_keeps_its_own_delimiters() -> None:
    document = Document.read((FILES / "pass/835_two_interchanges_with_their_own_delimiters.edi").read_bytes())
    rows = document.rows("SVC")
    assert document.components(rows, 6).to_list() == [["HC", "99458", "GT", "95"]]
    assert document.transactions["interchange"].to_list() == [1, 2]
    assert document.separators(document.rows("BPR")).to_list() == [":", ">"]


def test_a_person_called_isa_does_not_start_an_interchange() -> None:
    people = b"NM1*QC*1*ISA*BO*A~NM1*QC*1*LISA*ISABEL~"
    document = Document.read(ISA + BODY.replace(b"BPR*I*5~", people).replace(b"SE*3", b"SE*4"))
    assert len(document.interchanges) == 1
    assert document.findings.is_empty()


def test_an_interchange_behind_one_without_its_last_terminator_is_found() -> None:
    document = Document.read((ISA + BODY)[:-1] + b"\n" + ISA + BODY)
    assert len(document.interchanges) == 2
    assert "bad_segment_id" not in document.findings["rule"]


@pytest.mark.parametrize("between", [b" ", b"\t", b"\r\n \t", b"  \n"])
def test_an_interchange_behind_blanks_is_found(between: bytes) -> None:
    document = Document.read(ISA + BODY + between + ISA.replace(b"000000001", b"000000002") + BODY)
    assert document.interchanges["interchange_control_number"].to_list() == ["000000001", "000000002"]


def test_interchanges_are_found_wherever_the_search_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (ISA + BODY) * 5
    for window in range(1, len(ISA + BODY)):
        monkeypatch.setattr("edi.delimiters._WINDOW", window)
        assert [span.start for span in find_spans(data)] == [len(ISA + BODY) * nth for nth in range(5)]


def test_an_element_that_no_segment_reaches_is_absent() -> None:
    document = Document.read(ISA + BODY)
    columns = document.columns(document.rows("BPR"), {"handling": 1, "method": 4, "date": 16})
    assert {name: column.to_list() for name, column in columns.items()} == {
        "handling": ["I"],
        "method": [None],
        "date": [None],
    }
    assert columns["date"].dtype == pl.String


def test_elements_lose_their_padding_and_blank_ones_are_absent() -> None:
    document = Document.read(ISA + BODY.replace(b"BPR*I*5~", b"BPR* I *   ~"))
    assert document.element(document.rows("BPR"), 1).to_list() == ["I"]
    assert document.element(document.rows("BPR"), 2).to_list() == [None]


@pytest.mark.parametrize("size", [150, 400, 1_000, 100_000])
def test_parts_hold_the_same_segments_as_the_whole(size: int) -> None:
    files = [path.read_bytes() for path in sorted(FILES.glob("pass/835*"))]
    data = b"".join(files)
    whole = Document.read(data)
    cut = list(parts(data, size))
    assert pl.concat([part.segments for part in cut]).equals(whole.segments)
    assert len(cut) > 1 or size > len(data)


def test_a_code_is_packed_alike_in_a_document_and_by_itself() -> None:
    document = Document.read(
        ISA + BODY.replace(b"BPR*I*5~", b"REF*6R*1~DTM*472*1~REF**1~REF*ABCDE*1~XY*WXYZ~")
    )
    rows = document.rows("REF", "DTM", "XY")
    assert document.codes(rows, 1).tolist() == [code("6R"), code("472"), 0, 0, code("WXYZ")]


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_at_all_make_the_tokenizer_raise(data: bytes) -> None:
    document = Document.read(data)
    assert len(document.segments) == len(document)
    assert document.findings.height > 0 or document.interchanges.height > 0
    rows = np.arange(len(document))
    assert len(document.element(rows, 3)) == len(document)


def test_columns_are_the_elements_one_by_one() -> None:
    """Several elements in one gather are those taken singly, for absent rows and places of their own too."""
    document = Document.read(b"CLP*A* 1 *~CLP*B~DTM*472*20261015~")
    rows, places = np.array([0, 1, -1, 2]), np.array([1, 2, 1, 2])
    columns = document.columns(rows, {"first": 1, "second": 2, "each": places})
    assert columns["first"].to_list() == ["A", "B", None, "472"]
    assert columns["second"].to_list() == ["1", None, None, "20261015"]
    assert columns["each"].to_list() == ["A", None, None, "20261015"]
    assert document.element(rows, places).to_list() == columns["each"].to_list()
