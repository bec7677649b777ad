"""The 277CA: every status of every level, with whose word it is and which claim or line it is about."""

from datetime import date
from decimal import Decimal
from pathlib import Path

from edi.claim_status import ClaimStatuses, read_claim_statuses
from edi.segments import Document

PASS = Path(__file__).parent / "files/pass"
FAIL = Path(__file__).parent / "files/fail"
PAYER = PASS / "277ca_payer_accepts_one_and_rejects_a_line.edi"


def read(path: Path) -> ClaimStatuses:
    return read_claim_statuses(Document.read(path.read_bytes()))


def test_every_composite_of_every_status_is_a_row() -> None:
    statuses = read(PAYER).statuses
    columns = ("level", "composite", "category_code", "status_code", "entity_code", "action_code")
    assert statuses.select(columns).rows() == [
        ("information_receiver", 1, "A1", "19", "PR", "WQ"),
        ("billing_provider", 1, "A1", "19", "PR", "WQ"),
        ("claim", 1, "A2", "20", "PR", "WQ"),
        ("claim", 1, "A3", "247", None, "U"),
        ("line", 1, "A7", "507", None, "U"),
        ("line", 10, "A8", "187", "82", "U"),
        ("line", 11, "A6", "453", None, "U"),
    ]


def test_a_status_names_our_claim_our_line_and_the_payers_number() -> None:
    statuses = read(PAYER).statuses
    columns = ("claim_number", "line_control_number", "payer_claim_number", "charge")
    assert statuses.filter(composite=1).select(columns).rows() == [
        (None, None, None, Decimal(180)),
        (None, None, None, Decimal(180)),
        ("R2610ABCDEFGHIJK1", None, "2630012345678", Decimal(60)),
        ("R2610ABCDEFGHIJK2", None, None, Decimal(120)),
        ("R2610ABCDEFGHIJK2", "R2610ABCDEFGHIJK2-02", None, Decimal(60)),
    ]
    assert statuses["batch_number"].unique().to_list() == ["BATCH20261101001"]
    assert statuses["clearinghouse_number"].drop_nulls().to_list() == ["CH000001"]
    assert statuses["status_date"].drop_nulls().unique().to_list() == [date(2026, 11, 10)]


def test_the_clearinghouse_and_the_payer_are_kept_apart() -> None:
    house = read(PASS / "277ca_clearinghouse_speaks_first.edi").statuses
    assert house.select("source_type", "source_id").unique().rows() == [("AY", "HOUSE1")]
    assert read(PAYER).statuses.select("source_type", "source_id").unique().rows() == [("PR", "05102")]


def test_totals_are_read_at_each_level() -> None:
    totals = read(PAYER).totals
    assert totals.select("level", "kind", "qualifier", "value").rows() == [
        ("information_receiver", "QTY", "90", Decimal(1)),
        ("information_receiver", "QTY", "AA", Decimal(1)),
        ("information_receiver", "AMT", "YU", Decimal(60)),
        ("information_receiver", "AMT", "YY", Decimal(120)),
        ("billing_provider", "QTY", "QA", Decimal(1)),
        ("billing_provider", "QTY", "QC", Decimal(1)),
        ("billing_provider", "AMT", "YU", Decimal(60)),
        ("billing_provider", "AMT", "YY", Decimal(120)),
    ]


def test_free_text_is_kept() -> None:
    data = PAYER.read_bytes().replace(b"*A8:187:82*A6:453", b"*A8:187:82*A6:453*SEE COMPANION GUIDE: 4.2")
    statuses = read_claim_statuses(Document.read(data)).statuses
    assert statuses["free_text"].unique().drop_nulls().to_list() == ["SEE COMPANION GUIDE: 4.2"]


def test_two_claims_of_one_patient_keep_their_own_numbers() -> None:
    second = b"TRN*2*R2610ABCDEFGHIJK9~\nSTC*A7:562:85*20261110*U*75~\nREF*1K*2639912345678~\nHL*5*3*PT"
    data = PAYER.read_bytes().replace(b"HL*5*3*PT", second)
    statuses = read_claim_statuses(Document.read(data)).statuses.filter(level="claim")
    assert statuses.select("claim_number", "payer_claim_number").rows() == [
        ("R2610ABCDEFGHIJK1", "2630012345678"),
        ("R2610ABCDEFGHIJK9", "2639912345678"),
        ("R2610ABCDEFGHIJK2", None),
    ]


def test_a_level_without_its_parent_is_read_and_told() -> None:
    result = read(FAIL / "277ca_level_without_its_parent.edi")
    assert result.findings["rule"].to_list() == ["hl_parent"]
    assert result.statuses.equals(read(PAYER).statuses)


def test_a_status_outside_any_level_is_told() -> None:
    result = read(FAIL / "277ca_status_outside_any_level.edi")
    assert result.statuses["level"].to_list()[0] is None
    assert result.findings.select("rule", "segment").rows() == [("status_without_level", 5)]
