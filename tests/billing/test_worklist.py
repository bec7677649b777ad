"""The worklist: what becomes an item, what to do about it by the set of codes, and what is one incident."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from billing.deposits import reassociate
from billing.reconciliation import reconcile
from billing.reference.tables import PACKAGED, load, read_table
from billing.worklist import incidents, work_items
from tests.billing.made_books import PAID_ON, SENT, Maker

ACTIONS = pl.read_csv(Path(__file__).parent / "cases" / "denial_actions.csv", infer_schema=False)


def _items(made: Maker) -> pl.DataFrame:
    books = made.books()
    return work_items(books, reconcile(books, load()), reassociate(books), load())


def _item(made: Maker) -> dict[str, Any]:
    found = _items(made)
    assert found.height == 1, found
    return found.row(0, named=True)


def _denied(made: Maker, adjustments: str, remarks: str = "", **claim: Any) -> int:
    number = made.claim(**claim)
    made.line(number)
    made.answer(number)
    made.post("denial", "95.00", number)
    for code in filter(None, adjustments.split(" ")):
        group, reason = code.split("-")
        made.add(
            "adjustments",
            remittance_claim_id=len(made.rows["remittance_claims"]),
            remittance_line_id=len(made.rows["remittance_lines"]),
            group_code=group,
            reason_code=reason,
            amount=Decimal("95.00"),
        )
    for code in filter(None, remarks.split(" ")):
        made.add(
            "remarks",
            remittance_claim_id=len(made.rows["remittance_claims"]),
            remittance_line_id=len(made.rows["remittance_lines"]),
            code=code,
        )
    return number


def _file(made: Maker, **values: Any) -> int:
    usual = {"name": "answer.835", "kind": "835", "state": "posted", "received_at": SENT, "summary": "{}"}
    return made.add("files", **{**usual, **values})


def _sent_file(made: Maker) -> None:
    made.add("interchanges", file_name="PARTB_1.837", claim_count=1, state="sent", sent_at=SENT)


@pytest.mark.parametrize("case", ACTIONS.to_dicts(), ids=ACTIONS["codes"].to_list())
def test_a_denial_is_decided_on_the_set_of_its_codes(case: dict[str, str]) -> None:
    made = Maker()
    adjustments = " ".join(code for code in case["codes"].split() if "-" in code)
    remarks = " ".join(code for code in case["codes"].split() if "-" not in code)
    _denied(made, adjustments, remarks)
    item = _item(made)
    assert (item["kind"], item["retry_class"], item["owner"]) == (
        "denial",
        case["retry_class"],
        case["owner"],
    )
    assert str(item["deadline"] or "") == (case["deadline"] or "")
    assert case["says"] in item["action"]


def test_codes_no_row_knows_need_a_person_with_the_raw_codes() -> None:
    made = Maker()
    _denied(made, "CO-999 CO-45", "N999")
    item = _item(made)
    assert item["owner"] == "billing"
    assert item["retry_class"] is None
    assert "CO-999" in item["reason"]
    assert "N999" in item["reason"]
    assert "CO-45" not in item["reason"]


def test_every_action_has_an_owner_a_source_and_a_way_to_its_deadline() -> None:
    for name in ("denial_actions", "work_actions"):
        table = read_table(PACKAGED / f"{name}.csv")
        for column in ("owner", "action", "source", "effective_from"):
            assert table[column].null_count() == 0, (name, column)
        has_days = table["deadline_from"].is_in(["remit", "found"])
        assert (table["deadline_days"].is_not_null() == has_days).all()
        assert set(table["retry_class"].drop_nulls().str.split(", ").explode()) <= set("FRAXWPI")
    assert read_table(PACKAGED / "denial_actions.csv")["rank"].is_unique().all()
    assert not read_table(PACKAGED / "work_actions.csv").select("kind", "code").is_duplicated().any()


def test_the_money_of_a_denial_is_what_the_line_was_expected_to_bring() -> None:
    made = Maker()
    _denied(made, "CO-50")
    assert _item(made)["money"] == Decimal("47.04")


def test_equal_denials_of_one_week_and_contractor_are_one_incident() -> None:
    made = Maker()
    for _ in range(3):
        _denied(made, "CO-109")
    _denied(made, "CO-109", mac_contract="05102")
    _denied(made, "CO-50")
    folded = incidents(_items(made))
    assert sorted(folded["items"].to_list()) == [1, 1, 3]
    assert folded["money"].to_list() == [Decimal("141.12"), Decimal("47.04"), Decimal("47.04")]
    assert len(folded["claims"][0]) == 3


def test_most_money_comes_first() -> None:
    made = Maker()
    _denied(made, "CO-50")
    file = _file(made, state="partly")
    made.add(
        "remittances",
        file_id=file,
        amount=Decimal("900.00"),
        state="quarantined",
        difference=Decimal("0.01"),
        trace_number="T1",
        method="NON",
        received_at=SENT,
    )
    found = _items(made)
    assert found["kind"].to_list() == ["imbalance", "denial"]
    assert "off by 0.01" in found["reason"][0]


def test_a_rejection_carries_its_codes_and_runs_against_timely_filing() -> None:
    made = Maker()
    claim = made.claim("rejected")
    made.line(claim)
    codes = json.dumps({"category": "A7", "status": "164", "entity": "IL", "action": "U"})
    file = _file(made, kind="277CA")
    made.add(
        "answers", file_id=file, kind="277CA", level="claim", source="payer", claim_id=claim, codes=codes,
        outcome="rejected", is_matched=True, received_at=SENT, interchange_id=1,
    )  # fmt: skip
    item = _item(made)
    assert (item["kind"], item["retry_class"], item["owner"]) == ("rejection", "F", "eligibility")
    assert item["reason"] == "Rejected with A7:164:IL."
    assert item["deadline"] == date(2027, 10, 20)


def test_claims_of_a_refused_file_are_one_incident() -> None:
    made = Maker()
    for contract in ("01112", "05102"):
        made.line(made.claim("rejected", mac_contract=contract))
    file = _file(made, kind="TA1")
    made.add(
        "answers", file_id=file, kind="TA1", level="interchange", interchange_id=1, outcome="rejected",
        codes='{"code": "R", "note": "006"}', is_matched=True, received_at=SENT,
    )  # fmt: skip
    found = _items(made)
    assert found["reason"].unique().to_list() == ["Rejected with TA1 R:006."]
    assert incidents(found)["items"].to_list() == [2]


def test_a_claim_sent_again_is_off_the_list() -> None:
    made = Maker()
    claim = made.claim("rejected")
    made.line(claim)
    made.add("events", claim_id=claim, at=SENT, actor="resend", to_state="replaced")
    assert _items(made).is_empty()


@pytest.mark.parametrize(
    ("state", "answered", "days", "expected"),
    [
        ("sent", False, 1, None),  # Tuesday to Wednesday: still its business day
        ("sent", False, 2, "missing_acknowledgement"),
        ("received", True, 2, None),
        ("received", True, 3, "missing_277CA"),
        ("accepted", True, 14, None),
        ("accepted", True, 17, None),
        ("accepted", True, 18, "missing_835"),
    ],
)
def test_silence_becomes_an_item_when_the_answer_is_overdue(
    state: str, answered: bool, days: int, expected: str | None
) -> None:
    made = Maker(as_of=SENT.date() + timedelta(days=days))
    claim = made.claim(state)
    made.line(claim)
    _sent_file(made)
    if answered:
        file = _file(made, kind="999")
        made.add("answers", file_id=file, kind="999", level="group", interchange_id=1, outcome="accepted",
                 codes="{}", is_matched=True, received_at=SENT)  # fmt: skip
    kinds = _items(made)["kind"].to_list()
    assert kinds == ([] if expected is None else [expected])


def test_a_weekend_is_no_business_day() -> None:
    friday = datetime(2026, 11, 6, 15, tzinfo=UTC)
    for day, expected in ((date(2026, 11, 9), []), (date(2026, 11, 10), ["missing_acknowledgement"])):
        made = Maker(as_of=day)
        made.line(made.claim("sent", sent_at=friday))
        _sent_file(made)
        assert _items(made)["kind"].to_list() == expected


def _crossed_over(made: Maker, status: str = "19", patient: str = "12.00", payer: str = "05102") -> int:
    claim = made.claim()
    made.line(claim)
    made.answer(claim, allowed="60.00")
    made.rows["remittance_claims"][-1].update(status_code=status, is_forwarded=True)
    made.add("remittances", payer_id=payer, state="posted", payment_date=PAID_ON, received_at=SENT)
    for account, amount in (
        ("payment", "47.04"),
        ("patient_responsibility", patient),
        ("contractual", "35.96"),
    ):
        made.post(account, amount, claim, group_code="PR", reason_code="2")
    return claim


@pytest.mark.parametrize(("days", "expected"), [(45, []), (46, ["missing_secondary"])])
def test_a_claim_that_was_passed_on_is_asked_for_after_45_days(days: int, expected: list[str]) -> None:
    made = Maker(as_of=PAID_ON + timedelta(days=days))
    _crossed_over(made)
    found = _items(made)
    assert found["kind"].to_list() == expected
    assert found["money"].to_list() == [Decimal("12.00")] * len(expected)


@pytest.mark.parametrize(
    ("status", "payer", "expected"),
    [("2", "MEDIGAP", []), ("2", "05102", []), ("1", "MEDIGAP", []), ("1", "05102", ["missing_secondary"])],
)
def test_the_next_payers_remittance_ends_the_wait(status: str, payer: str, expected: list[str]) -> None:
    made = Maker(as_of=PAID_ON + timedelta(days=46))
    claim = _crossed_over(made)
    made.add("remittances", payer_id=payer, state="posted", payment_date=PAID_ON, received_at=SENT)
    made.add("remittance_claims", remittance_id=2, claim_id=claim, status_code=status, is_reversal=False,
             is_forwarded=False, charge=Decimal("95.00"), paid=Decimal("0.00"))  # fmt: skip
    assert _items(made).filter(kind="missing_secondary")["kind"].to_list() == expected


def test_where_the_patient_owes_nothing_no_next_payer_is_waited_for() -> None:
    made = Maker(as_of=PAID_ON + timedelta(days=100))
    _crossed_over(made, patient="0.00")
    assert "missing_secondary" not in _items(made)["kind"]


def test_a_claim_forwarded_undecided_is_waited_for_with_all_it_was_to_bring() -> None:
    made = Maker(as_of=PAID_ON + timedelta(days=46))
    claim = made.claim("accepted")
    made.line(claim)
    made.add("remittances", payer_id="05102", state="posted", payment_date=PAID_ON, received_at=SENT)
    made.add("remittance_claims", remittance_id=1, claim_id=claim, status_code="23", is_reversal=False,
             is_forwarded=True, charge=Decimal("95.00"), paid=Decimal("0.00"))  # fmt: skip
    assert _item(made)["money"] == Decimal("47.04")


def test_an_unmatched_remittance_says_whose_it_may_be() -> None:
    made = Maker()
    file = _file(made)
    made.add("remittances", file_id=file, amount=Decimal("47.04"), state="posted", method="NON",
             trace_number="T1", received_at=SENT)  # fmt: skip
    made.add("remittance_claims", remittance_id=1, claim_number="R2610CLAIM00", charge=Decimal("95.00"),
             paid=Decimal("47.04"), is_reversal=False, is_forwarded=False,
             suggested_claim_number="R2610CLAIM0000011")  # fmt: skip
    item = _item(made)
    assert (item["kind"], item["money"]) == ("unmatched_remittance", Decimal("47.04"))
    assert "It may be R2610CLAIM0000011." in item["reason"]


@pytest.mark.parametrize(
    ("answer", "says", "to_do"),
    [
        (
            {
                "kind": "TA1",
                "level": "interchange",
                "codes": '{"interchange_control_number": "77", "code": "A"}',
            },
            "A TA1 in answer.835 answers interchange 77, which is none of ours.",
            "did not send",
        ),
        (
            {"kind": "999", "level": "group", "codes": '{"group_control_number": "5"}'},
            "A 999 in answer.835 answers group 5, which is none of ours.",
            "did not send",
        ),
        (
            {"kind": "277CA", "level": "claim", "codes": "{}", "claim_number": "STRANGER"},
            "A 277CA in answer.835 names a claim that is none of ours.",
            "confirm the match",
        ),
    ],
)
def test_an_answer_to_nobody_says_what_it_answers(answer: dict[str, str], says: str, to_do: str) -> None:
    made = Maker()
    made.add("answers", file_id=_file(made), outcome="received", is_matched=False, received_at=SENT, **answer)
    item = _item(made)
    assert (item["kind"], item["reason"]) == ("unmatched_answer", says)
    assert to_do in item["action"]


@pytest.mark.parametrize(
    ("file_kind", "kind", "says", "to_do"),
    [
        ("837", "not_an_answer", "claims.x12 is a claim file (X12 837);", "outbox"),
        ("270", "not_an_answer", "claims.x12 is an eligibility request (X12 270);", "who put it there"),
        ("other", "not_an_answer", "claims.x12 is no answer (X12 other);", "who put it there"),
        ("unknown", "unreadable_file", "claims.x12 was kept and could not be used.", "ask the sender"),
    ],
)
def test_a_file_that_answers_nothing_is_called_what_it_is(
    file_kind: str, kind: str, says: str, to_do: str
) -> None:
    made = Maker()
    _file(made, name="claims.x12", kind=file_kind, state="unreadable")
    item = _item(made)
    assert item["kind"] == kind
    assert item["reason"].startswith(says)
    assert to_do in item["action"]


def test_an_adjustment_that_found_its_claim_late_is_no_work_any_more() -> None:
    made = Maker()
    outside: dict[str, Any] = {"remittance_claim_id": None, "reference": "2226300000017"}
    for _ in range(2):
        made.post("takeback", "60.00", None, None, **outside)
    found = _items(made)
    assert found["kind"].to_list() == ["provider_adjustment"] * 2
    made.line(made.claim("accepted"))
    _reversed(made, 1)
    made.post("takeback", "-60.00", None, None, **outside)
    made.post("takeback", "60.00", 1, None, **outside)
    (item,) = _items(made).filter(kind="provider_adjustment").to_dicts()
    assert item["key"] in found["key"]


def _reversed(made: Maker, claim_id: int) -> None:
    money = dict.fromkeys(("charge", "paid"), Decimal("-60.00"))
    whose = {"claim_id": claim_id, "is_reversal": True, "is_forwarded": False}
    made.add("remittance_claims", remittance_id=1, status_code="22", **whose, **money)


def test_money_taken_back_for_a_claim_that_was_not_reversed_is_work() -> None:
    made = Maker()
    made.line(made.claim("accepted"))
    made.post("takeback", "80.00", 1, None, remittance_claim_id=None, reference="R2610CLAIM0000011")
    (item,) = _items(made).filter(kind="provider_adjustment").to_dicts()
    assert (item["claim_id"], item["money"]) == (1, Decimal("80.00"))
    assert item["reason"] == "takeback of 80.00 for a claim that was not reversed."
    _reversed(made, 1)
    assert _items(made).filter(kind="provider_adjustment").is_empty()


@pytest.mark.parametrize(("reference", "items"), [("CK9", 0), ("CK8", 1), (None, 1)])
def test_a_takeback_that_our_refund_offsets_is_no_work(reference: str | None, items: int) -> None:
    made = Maker()
    refund = None if reference is None else "CK9"
    made.post("takeback", "90.00", None, None, remittance_claim_id=None, reference=reference)
    made.post("refund", "-90.00", None, None, remittance_claim_id=None, reference=refund)
    assert _items(made)["kind"].to_list() == ["provider_adjustment"] * items


def test_a_forwarded_balance_is_work_until_later_payments_bring_it_to_zero() -> None:
    made = Maker()
    for remittance_id in (1, 2):
        made.add("remittances", payer_id="05102", state="posted", payment_date=PAID_ON, received_at=SENT)
        usual = {"remittance_claim_id": None, "remittance_id": remittance_id}
        amount = {1: "-46.28", 2: "40.00"}[remittance_id]
        made.post("forwarding_balance", amount, None, None, reference="A", **usual)
    item = _item(made)
    assert (item["kind"], item["money"]) == ("provider_adjustment", Decimal("6.28"))
    assert item["reference"] == "forwarded balance A"
    made.post("forwarding_balance", "6.28", None, None, reference="A", **usual)
    assert _items(made).is_empty()


def test_the_codes_of_a_denial_are_those_of_the_latest_payment_in_whatever_order_they_came() -> None:
    made = Maker()
    for day in (date(2026, 12, 1), date(2026, 11, 20)):
        made.add("remittances", payer_id="05102", state="posted", payment_date=day, received_at=SENT)
    claim = _denied(made, "CO-50", "N115")
    earlier = {"remittance_claim_id": 2, "remittance_line_id": 2}
    made.add(
        "remittance_claims", remittance_id=2, status_code="1", claim_id=claim, is_reversal=False,
        is_forwarded=False,
    )  # fmt: skip
    made.add("remittance_lines", remittance_claim_id=2, claim_line_number=1, is_denied=True)
    made.add("adjustments", group_code="CO", reason_code="109", amount=Decimal("95.00"), **earlier)
    made.add("remarks", code="N418", **earlier)
    assert _item(made)["reason"] == "Denied with CO-50 N115."


@pytest.mark.parametrize("status", ["2", "23", "25"])
def test_the_codes_of_a_denial_are_those_of_the_payer_that_decides(status: str) -> None:
    made = Maker()
    claim = _denied(made, "CO-50", "N115")
    other = made.remit(claim, status, payer="OTHER", on=PAID_ON + timedelta(days=9))
    whole = {"remittance_claim_id": other, "remittance_line_id": None}
    made.add("adjustments", group_code="CO", reason_code="109", amount=Decimal("95.00"), **whole)
    assert _item(made)["reason"] == "Denied with CO-50 N115."


def test_an_underpaid_line_says_by_how_much_and_why() -> None:
    made = Maker()
    claim = made.claim()
    made.line(claim, allowed_estimate=Decimal("65.26"), medicare_estimate=Decimal("51.17"))
    made.answer(claim, allowed="29.47")
    for account, amount, reason in (
        ("payment", "23.11", None),
        ("patient_responsibility", "5.89", "2"),
        ("sequestration", "0.47", "253"),
        ("contractual", "65.53", "45"),
    ):
        made.post(account, amount, claim, group_code="CO", reason_code=reason)
    item = _item(made)
    assert (item["kind"], item["money"]) == ("underpayment", Decimal("35.79"))
    assert "site 28.06" in item["reason"]
    assert item["deadline"] == PAID_ON + timedelta(days=120)


@pytest.mark.parametrize(
    ("payer_kind", "kind", "says"),
    [
        ("medicare_part_b", "changed", "reopening"),
        ("commercial", "changed", "replacement"),
        ("medicare_part_b", "withdrawn", "refund"),
    ],
)
def test_a_correction_says_what_to_do_for_its_payer(payer_kind: str, kind: str, says: str) -> None:
    made = Maker()
    claim = made.claim("adjudicated", payer_kind=payer_kind)
    made.line(claim)
    now = "{}" if kind == "withdrawn" else '{"total_charge": "150.00"}'
    made.add(
        "corrections", claim_id=claim, found_at=SENT, kind=kind, was='{"total_charge": "95.00"}', now=now
    )
    item = _item(made)
    assert item["money"] == Decimal("95.00" if kind == "withdrawn" else "55.00")
    assert says in item["action"]


def test_the_last_run_tells_what_was_held_and_refused() -> None:
    made = Maker()
    holds = [
        {"reason": "NO_ORDER", "is_note": False, "patients": 4, "next_step": "Ask for it."},
        {"reason": "UNITS_OVER_CAP", "is_note": True, "patients": 2, "next_step": None},
    ]
    refused = [{"dataset": "time-entries", "rule": "no_time_zone", "rows": 9}]
    for day, patients in ((1, 7), (2, 4)):
        holds[0]["patients"] = patients
        summary = json.dumps({"funnel": {"holds": holds, "quarantine": refused}})
        made.add("runs", run_id=f"r{day}", month=date(2026, 10, 1), source="s",
                 finished_at=SENT + timedelta(days=day), summary=summary)  # fmt: skip
    found = _items(made)
    assert found["key"].sort().to_list() == [
        "held:2026-10:NO_ORDER",
        "quarantine:2026-10:time-entries no_time_zone",
    ]
    assert "NO_ORDER: 4 patients are held. Ask for it." in found["reason"].to_list()


def test_money_that_did_not_arrive_waits_some_days_before_it_is_work() -> None:
    for day, expected in ((25, []), (26, ["era_without_deposit"])):
        made = Maker(as_of=date(2026, 11, day))
        made.add("remittances", amount=Decimal("5.00"), method="ACH", state="posted", trace_number="T1",
                 payment_date=PAID_ON, received_at=SENT)  # fmt: skip
        made.add("remittances", amount=Decimal("6.00"), method="ACH", state="posted", trace_number="T2",
                 payment_date=PAID_ON, received_at=SENT)  # fmt: skip
        made.add("deposits", amount=Decimal("6.00"), trace_number="T2", deposited_on=PAID_ON)
        assert _items(made)["kind"].to_list() == expected
