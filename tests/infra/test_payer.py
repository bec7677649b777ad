"""The sandbox payer answers by its own book, acts out every case, and its files stand up to other readers."""

import csv
import io
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from datetime import date
from decimal import Decimal
from pathlib import Path

import oxedi
import polars as pl
import pytest
from bai2 import bai2

from edi.check import judge
from edi.reader import Reading, read_x12
from infra.sandbox.payer import Answered, answer, main
from infra.sandbox.payer_book import NotPayable, unit_fee
from infra.sandbox.payer_cases import BadScript, cases
from infra.sandbox.places import place
from infra.sandbox.servers import S3Server
from tests.infra.made_outbox import write_outbox

COMPUTED_FEES = Path(__file__).parents[3] / "shared" / "reference" / "computed_fees_2026.csv"
RECEIVER = "SANDBOXCH"


class Inbox:
    """What the payer wrote, read back by an independent, small reader of X12."""

    def __init__(self, folder: Path, answered: Answered) -> None:
        self.folder, self.answered = folder, answered
        self.files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    def of_kind(self, kind: str) -> dict[str, bytes]:
        return {key: data for key, data in self.files.items() if key.endswith(f".{kind}")}

    def claim_of(self, case: str) -> str:
        return next(number for number, name in self.answered.cases.items() if name == case)

    def sent_as(self, case: str) -> str:
        number = self.claim_of(case)
        return number[:12] if case == "truncated_number" else number

    def remittances_of(self, case: str) -> list["Remit"]:
        sent = self.sent_as(case)
        return [remit for remit in self.remits() if sent in [claim[1] for claim in remit.claims()]]

    def remits(self) -> list["Remit"]:
        return [Remit(key, data) for key, data in sorted(self.of_kind("835").items())]


class Remit:
    """One 835 as lists of elements."""

    def __init__(self, key: str, data: bytes) -> None:
        self.key = key
        self.segments = [segment.split("*") for segment in data.decode().split("~") if segment]

    def all(self, tag: str) -> list[list[str]]:
        return [[*segment, *[""] * 30] for segment in self.segments if segment[0] == tag]

    def claims(self) -> list[list[str]]:
        return self.all("CLP")

    def within(self, claim: list[str]) -> list[list[str]]:
        """Give the segments of one CLP loop."""
        start = next(at for at, segment in enumerate(self.segments) if segment[:8] == claim[:8])
        loop = []
        for segment in self.segments[start + 1 :]:
            if segment[0] in {"CLP", "PLB", "SE"}:
                break
            loop.append([*segment, *[""] * 30])
        return loop

    @property
    def amount(self) -> Decimal:
        return Decimal(self.all("BPR")[0][2])

    @property
    def trace(self) -> str:
        return self.all("TRN")[0][2]


def _adjusted(segments: list[list[str]]) -> list[tuple[str, str, Decimal]]:
    """List group, reason and amount of every CAS triple."""
    return [
        (segment[1], segment[at], Decimal(segment[at + 1]))
        for segment in segments
        if segment[0] == "CAS"
        for at in range(2, 20, 3)
        if segment[at]
    ]


def _faults(remit: Remit) -> list[str]:
    """Balance an 835 by hand: each line, each claim, the payment."""
    found = []
    for claim in remit.claims():
        loop = remit.within(claim)
        starts = [at for at, segment in enumerate(loop) if segment[0] == "SVC"]
        for start, end in zip(starts, [*starts[1:], len(loop)], strict=True):
            charge, paid = Decimal(loop[start][2]), Decimal(loop[start][3])
            if charge - sum(amount for _, _, amount in _adjusted(loop[start:end])) != paid:
                found.append("line")
        if Decimal(claim[3]) - sum(amount for _, _, amount in _adjusted(loop)) != Decimal(claim[4]):
            found.append("claim")
        patient = sum((amount for group, _, amount in _adjusted(loop) if group == "PR"), Decimal(0))
        if Decimal(claim[5]) != patient:
            found.append("patient")
    withheld = sum((Decimal(segment[4]) for segment in remit.all("PLB")), Decimal(0))
    if sum(Decimal(claim[4]) for claim in remit.claims()) - withheld != remit.amount or remit.amount < 0:
        found.append("payment")
    return found


@pytest.fixture(scope="module")
def outbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outbox")
    (folder / "first.837").write_bytes(write_outbox(700, claims_per_set=250))
    (folder / "notes.txt").write_text("not X12")
    return folder


@pytest.fixture(scope="module")
def inbox(outbox: Path, tmp_path_factory: pytest.TempPathFactory) -> Inbox:
    folder = tmp_path_factory.mktemp("inbox")
    return Inbox(folder, answer(outbox, folder, seed=7, mix="paid", script=["all"]))


def test_every_case_but_the_rejected_file_is_played_once(inbox: Inbox) -> None:
    played = Counter(inbox.answered.cases.values())
    assert set(played) == set(cases()) - {"rejected_interchange"}
    assert {name for name, count in played.items() if count > 1} == {"paid"}


def test_every_remittance_balances_but_the_one_that_must_not(inbox: Inbox) -> None:
    unbalanced = {remit.key: _faults(remit) for remit in inbox.remits() if _faults(remit)}
    assert list(unbalanced.values()) == [["line", "claim"]]
    assert [remit.key for remit in inbox.remittances_of("unbalanced")] == list(unbalanced)


@pytest.mark.parametrize("kind", ["ta1", "999", "277ca", "835"])
def test_every_file_passes_pyx12(inbox: Inbox, kind: str) -> None:
    files = inbox.of_kind(kind)
    assert files
    found = {key: faults.to_dicts() for key, data in files.items() if not (faults := judge(data)).is_empty()}
    assert not found


def test_oxedi_finds_the_same_claims_and_money(inbox: Inbox) -> None:
    for remit in inbox.remits():
        read = oxedi.parse(inbox.files[remit.key])
        assert read.count_claims() == len(remit.claims())
        assert Decimal(str(read.sum_payments())) == remit.amount


def test_our_own_reader_finds_nothing_wrong_but_what_was_scripted(inbox: Inbox) -> None:
    wrong = {key for key, data in inbox.files.items() if "bank" not in key and _read(data).exit_code != 0}
    assert wrong == {remit.key for remit in inbox.remittances_of("unbalanced")}


def _read(data: bytes) -> Reading:
    return read_x12(data, "answer")


def _only(inbox: Inbox, case: str) -> tuple[Remit, list[str], list[list[str]]]:
    (remit,) = inbox.remittances_of(case)
    claim = next(claim for claim in remit.claims() if claim[1] == inbox.sent_as(case))
    return remit, claim, remit.within(claim)


def test_a_claim_is_paid_by_the_worked_order_of_reductions(inbox: Inbox) -> None:
    """The charge of 95 for 99457 in Dallas: fee, coinsurance of a fifth, then two hundredths."""
    claim = next(
        claim for remit in inbox.remits() for claim in remit.claims() if claim[1] == "R0000000000126100"
    )
    assert inbox.answered.cases[claim[1]] == "paid"
    fee = unit_fee(
        "99457",
        date(2026, 10, 28),
        place_of_service="11",
        billing_zip="75390",
        billing_npi="",
        is_assigned=True,
    )
    coinsurance = (fee * Decimal("0.2")).quantize(Decimal("0.01"))
    sequestered = ((fee - coinsurance) * Decimal("0.02")).quantize(Decimal("0.01"))
    assert Decimal(claim[4]) == fee - coinsurance - sequestered
    assert Decimal(claim[5]) == coinsurance


def test_the_open_deductible_is_taken_first_and_not_from_medicare_alone(inbox: Inbox) -> None:
    _, claim, loop = _only(inbox, "deductible_first")
    taken = [amount for group, reason, amount in _adjusted(loop) if (group, reason) == ("PR", "1")]
    assert sum(taken) == 40
    assert Decimal(claim[4]) > 0


def test_a_deductible_that_takes_all_leaves_a_processed_claim_of_nothing(inbox: Inbox) -> None:
    _, claim, loop = _only(inbox, "deductible_only")
    assert (claim[2], claim[4]) == ("1", "0")
    assert {(group, reason) for group, reason, _ in _adjusted(loop)} == {("CO", "45"), ("PR", "1")}


def test_of_three_add_on_units_two_are_paid(inbox: Inbox) -> None:
    _, _, loop = _only(inbox, "units_cut")
    paid = [segment for segment in loop if segment[0] == "SVC" and segment[1].startswith("HC:99458")]
    assert sum(int(segment[5]) for segment in paid) == 2
    assert ("CO", "151", Decimal(80)) in _adjusted(loop)
    assert ["LQ", "HE", "N362"] in [segment[:3] for segment in loop]


def test_a_payee_of_one_line_with_units_is_told_how_many_were_cut(tmp_path: Path, outbox: Path) -> None:
    number = "R0000002400126100"  # New York, three add-on units
    done = answer(outbox, tmp_path, seed=1, mix="paid", script=[f"units_cut={number}"])
    _, _, loop = _only(Inbox(tmp_path, done), "units_cut")
    (service,) = [segment for segment in loop if segment[0] == "SVC" and "99458" in segment[1]]
    assert (service[5], service[7]) == ("2", "3")


@pytest.mark.parametrize(
    ("case", "line", "adjustment", "remark"),
    [
        ("duplicate_lines", "HC:99458", ("OA", "18"), "N111"),
        ("medicare_advantage", "HC:99457", ("CO", "24"), None),
        ("inpatient", "HC:99457", ("CO", "109"), "N193"),
        ("primary_denied", "HC:99457", ("CO", "50"), "N115"),
        ("primary_denied", "HC:99458", ("CO", "B15"), None),
        ("unprocessable", "HC:99457", ("CO", "16"), "MA130"),
        ("hospice", "HC:99457", ("CO", "B9"), None),
        ("other_practitioner", "HC:99457", ("CO", "B20"), None),
    ],
)
def test_a_refused_line_says_why(
    inbox: Inbox, case: str, line: str, adjustment: tuple[str, str], remark: str | None
) -> None:
    _, _, loop = _only(inbox, case)
    starts = [at for at, segment in enumerate(loop) if segment[0] == "SVC"]
    bodies = [loop[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    refused = [body for body in bodies if body[0][1].startswith(line) and body[0][3] == "0"]
    assert refused
    for body in refused:
        assert [triple[:2] for triple in _adjusted(body)] == [adjustment]
        remarks = [segment[2] for segment in body if segment[0] == "LQ"]
        assert remark in (remarks if remark else [None])


def test_an_underpaid_claim_is_reversed_and_corrected_a_fortnight_later(inbox: Inbox) -> None:
    first, later = inbox.remittances_of("reversal_and_correction")
    number = inbox.claim_of("reversal_and_correction")
    (was,) = [claim for claim in first.claims() if claim[1] == number]
    back, again = [claim for claim in later.claims() if claim[1] == number]
    assert (back[2], again[2]) == ("22", "1")
    assert Decimal(back[3]) == -Decimal(was[3])
    assert Decimal(back[4]) == -Decimal(was[4])
    assert Decimal(again[4]) > Decimal(was[4])
    assert again[7] != was[7] == back[7]
    assert ["REF", "F8", was[7]] in [segment[:3] for segment in later.within(again)]


def test_a_takeback_is_forwarded_and_set_off_in_a_later_remittance(inbox: Inbox) -> None:
    number = inbox.claim_of("takeback")
    paid, taken = inbox.remittances_of("takeback")
    owed = next(Decimal(claim[4]) for claim in paid.claims() if claim[1] == number)
    assert (taken.all("BPR")[0][4], taken.amount) == ("NON", Decimal(0))
    reference = f"FB:{next(claim[7] for claim in paid.claims() if claim[1] == number)}"
    assert [segment[3:5] for segment in taken.all("PLB")] == [[reference, str(-owed)]]
    (settled,) = [
        remit for remit in inbox.remits() if [reference, str(owed)] in [plb[3:5] for plb in remit.all("PLB")]
    ]
    assert settled.all("BPR")[0][16] > taken.all("BPR")[0][16] > paid.all("BPR")[0][16]
    assert settled.amount == sum(Decimal(claim[4]) for claim in settled.claims()) - owed > 0


def test_interest_comes_on_top_of_the_claim(inbox: Inbox) -> None:
    remit, claim, loop = _only(inbox, "interest")
    assert remit.amount == Decimal(claim[4]) + Decimal("1.27")
    assert remit.all("PLB")[0][3:5] == [f"L6:{claim[7]}", "-1.27"]
    assert ["AMT", "I", "1.27"] in [segment[:3] for segment in loop]


def test_a_crossover_names_who_it_was_forwarded_to(inbox: Inbox) -> None:
    _, claim, loop = _only(inbox, "crossover")
    assert claim[2] == "19"
    assert "MA18" in next(segment for segment in loop if segment[0] == "MOA")
    assert any(segment[:2] == ["NM1", "TT"] for segment in loop)


def test_a_remittance_of_nothing_is_sent_without_a_payment(inbox: Inbox) -> None:
    remit, _, _ = _only(inbox, "zero_pay")
    assert remit.all("BPR")[0][1:5] == ["H", "0", "C", "NON"]


def test_a_replayed_file_is_the_same_to_the_byte_under_another_name(inbox: Inbox) -> None:
    one, two = inbox.remittances_of("replay")
    assert one.key != two.key
    assert inbox.files[one.key] == inbox.files[two.key]


def test_what_does_not_come_back_does_not_come_back(inbox: Inbox) -> None:
    assert _only(inbox, "truncated_number")[1][1] == inbox.claim_of("truncated_number")[:12]
    _, _, loop = _only(inbox, "line_numbers_missing")
    assert not [segment for segment in loop if segment[:2] == ["REF", "6R"]]
    _, _, loop = _only(inbox, "modifiers_missing")
    assert {segment[1].count(":") for segment in loop if segment[0] == "SVC"} == {1}
    _, _, loop = _only(inbox, "reordered_lines")
    numbers = [segment[2] for segment in loop if segment[:2] == ["REF", "6R"]]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) > 1


def test_two_remittances_share_a_transfer_and_one_transfer_comes_in_two_deposits(inbox: Inbox) -> None:
    (one,) = inbox.remittances_of("two_remittances")
    twins = [remit for remit in inbox.remits() if remit.trace == one.trace]
    assert len(twins) == 2
    assert twins[0].amount != twins[1].amount
    assert _deposited(inbox)[one.trace] == [sum(remit.amount for remit in twins)]
    (split,) = inbox.remittances_of("split_deposit")
    parts = _deposited(inbox)[split.trace]
    assert (len(parts), sum(parts)) == (2, split.amount)


def test_a_remittance_may_come_before_its_claims_are_acknowledged(inbox: Inbox) -> None:
    (early,) = inbox.remittances_of("remittance_first")
    assert early.key < min(inbox.of_kind("277ca"))
    assert all(remit.key > max(inbox.of_kind("277ca")) for remit in inbox.remits() if remit.key != early.key)


def test_one_transaction_set_is_rejected_and_its_claims_go_no_further(inbox: Inbox, outbox: Path) -> None:
    (data,) = inbox.of_kind("999").values()
    assert sorted(re.findall(rb"~IK5\*(\w)", data)) == [b"A", b"A", b"R"]
    assert b"AK9*P*3*3*2~" in data
    blamed = re.search(rb"CTX\*CLM01:(\w+)~", data)
    assert blamed is not None
    assert blamed[1].decode() == inbox.claim_of("rejected_transaction")
    sent = (outbox / "first.837").read_bytes().split(b"ST*837*")
    (lost,) = [part for part in sent if blamed[1] in part]
    lost_numbers = {match.decode() for match in re.findall(rb"~CLM\*(\w+)\*", lost)}
    answered = {claim[1] for remit in inbox.remits() for claim in remit.claims()}
    acknowledged = {
        match.decode()
        for data in inbox.of_kind("277ca").values()
        for match in re.findall(rb"TRN\*2\*(R\w+)~STC\*A[12]", data)
    }
    assert not lost_numbers & (answered | acknowledged)


@pytest.mark.parametrize(
    ("case", "source", "status"),
    [
        ("rejected_A3", "AY", "A3:54"),
        ("rejected_A6", "AY", "A6:145:82"),
        ("rejected_A7", "PR", "A7:164:IL"),
        ("rejected_A8", "PR", "A8:562:85"),
    ],
)
def test_a_rejected_claim_is_rejected_by_its_source_and_never_paid(
    inbox: Inbox, case: str, source: str, status: str
) -> None:
    number = inbox.claim_of(case)
    said = {}
    for data in inbox.of_kind("277ca").values():
        found = re.search(rf"TRN\*2\*{number}~STC\*([^*]+)\*\d+\*(\w+)\*", data.decode())
        if found:
            said["AY" if b"NM1*AY" in data else "PR"] = found.groups()
    assert said[source] == (status, "U")
    assert ("PR" in said) == (source == "PR")
    assert not any(claim[1] == number for remit in inbox.remits() for claim in remit.claims())


def test_every_accepted_claim_is_acknowledged_by_clearinghouse_and_payer(inbox: Inbox) -> None:
    accepted = [
        (b"NM1*AY" in data, number)
        for data in inbox.of_kind("277ca").values()
        for number in re.findall(rb"TRN\*2\*(R\w{16})~STC\*A[12]:", data)
    ]
    assert len(accepted) == len(set(accepted))
    paid = {claim[1] for remit in inbox.remits() for claim in remit.claims()}
    both = {number.decode() for is_clearinghouse, number in accepted if is_clearinghouse} & {
        number.decode() for is_clearinghouse, number in accepted if not is_clearinghouse
    }
    assert paid - both == {inbox.claim_of("truncated_number")[:12]}


def test_a_rejected_file_is_answered_by_a_ta1_alone(tmp_path: Path, outbox: Path) -> None:
    done = answer(outbox, tmp_path, seed=7, mix="paid", script=["rejected_interchange=R0000000000126100"])
    assert done.files == (f"{RECEIVER}_RPMSUB01_000000001.ta1",)
    assert b"*R*025~" in (tmp_path / done.files[0]).read_bytes()


def _deposited(inbox: Inbox) -> dict[str, list[Decimal]]:
    (data,) = inbox.of_kind("csv").values()
    found = defaultdict(list)
    for row in csv.DictReader(io.StringIO(data.decode())):
        found[row["trace_number"]].append(Decimal(row["amount"]))
    return dict(found)


def test_the_bank_pays_what_the_remittances_announce(inbox: Inbox) -> None:
    announced: dict[str, Decimal] = defaultdict(Decimal)
    for remit in inbox.remits():
        if "_AGAIN" not in remit.key and remit.amount:
            announced[remit.trace] += remit.amount
    assert {trace: sum(parts) for trace, parts in _deposited(inbox).items()} == dict(announced)


def test_the_bank_says_the_same_in_bai2(inbox: Inbox) -> None:
    (data,) = inbox.of_kind("bai2").values()
    file = bai2.parse_from_string(data.decode())  # checks counts and control totals
    found = defaultdict(list)
    for group in file.children:
        for account in group.children:
            for one in account.children:
                found[one.bank_reference].append(Decimal(one.amount) / 100)
    assert dict(found) == _deposited(inbox)


def test_the_bank_says_the_same_in_nacha_with_the_trace_in_the_addenda(inbox: Inbox) -> None:
    (data,) = inbox.of_kind("ach").values()
    lines = data.decode().splitlines()
    assert {len(line) for line in lines} == {94}
    assert len(lines) % 10 == 0
    entries = [line for line in lines if line.startswith("6")]
    addenda = [line for line in lines if line.startswith("7")]
    control = next(line for line in lines if line.startswith("9") and line != "9" * 94)
    found = defaultdict(list)
    for entry, addendum in zip(entries, addenda, strict=True):
        found[addendum[3:83].rstrip(" \\").split("*")[2]].append(Decimal(int(entry[29:39])) / 100)
    assert dict(found) == _deposited(inbox)
    assert int(control[21:31]) == sum(int(entry[3:11]) for entry in entries) % 10**10
    assert int(control[43:55]) == sum(int(entry[29:39]) for entry in entries)
    assert int(control[13:21]) == len(entries) + len(addenda)


def test_the_same_seed_answers_the_same_and_an_answered_file_is_left_alone(
    tmp_path: Path, outbox: Path
) -> None:
    def run(name: str, seed: int) -> dict[str, bytes]:
        done = answer(outbox, tmp_path / name, seed=seed)
        return Inbox(tmp_path / name, done).files

    first = run("one", 3)
    assert first == run("two", 3) != run("three", 4)
    assert answer(outbox, tmp_path / "one", seed=9).files == ()
    assert Inbox(tmp_path / "one", Answered((), {})).files == first


def test_a_later_file_is_answered_under_new_numbers(tmp_path: Path) -> None:
    outbox, inbox = tmp_path / "outbox", tmp_path / "inbox"
    outbox.mkdir()
    (outbox / "1.837").write_bytes(write_outbox(20))
    first = answer(outbox, inbox, seed=7, mix="paid").files
    (outbox / "2.837").write_bytes(write_outbox(20, control_number=2))
    second = answer(outbox, inbox, seed=7, mix="paid").files
    assert not set(first) & set(second)
    assert len(set(cases())) > 1
    isa13 = [
        re.match(rb"ISA(?:\*[^*]*){12}\*(\d+)", (inbox / key).read_bytes())
        for key in (*first, *second)
        if "bank" not in key
    ]
    numbers = [found[1] for found in isa13 if found]
    assert len(numbers) == len(set(numbers))


def test_it_works_from_bucket_to_bucket(s3: S3Server, s3_bucket: str) -> None:
    with place(f"s3://{s3_bucket}/outbox") as outbox:
        outbox.put("1.837", write_outbox(10))
    assert (
        main(["--outbox", f"s3://{s3_bucket}/outbox", "--inbox", f"s3://{s3_bucket}/inbox", "--mix", "paid"])
        == 0
    )
    with place(f"s3://{s3_bucket}/inbox") as inbox:
        kinds = Counter(key.rpartition(".")[2] for key in inbox.list_keys())
    assert set(kinds) == {"ta1", "999", "277ca", "835", "csv", "bai2", "ach"}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("no_such_case=R0000000000126100", "There is no case no_such_case"),
        ("paid=R0", "write case=claim_number"),
        ("everything", "write case=claim_number"),
        ("units_cut=R0000000000126100", "needs a claim with three_add_on_units"),
    ],
)
def test_a_script_that_cannot_be_played_writes_nothing(
    outbox: Path, tmp_path: Path, line: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadScript, match=complaint):
        answer(outbox, tmp_path, seed=7, script=[line])
    assert main(["--outbox", str(outbox), "--inbox", str(tmp_path), "--script", line]) == 2
    assert complaint in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_book_agrees_with_the_computed_fees_of_every_locality() -> None:
    if not COMPUTED_FEES.exists():
        pytest.skip(f"{COMPUTED_FEES} is not on this machine")
    zips = pl.read_csv(Path("infra/sandbox/book/zip_codes.csv.gz"), infer_schema=False).unique(
        ["contract", "locality"]
    )
    codes = ["99445", "99454", "99457", "99458", "99470"]
    fees = pl.read_csv(COMPUTED_FEES, infer_schema=False).filter(pl.col("hcpcs").is_in(codes))
    known = fees.join(
        zips, left_on=["contract_number", "locality"], right_on=["contract", "locality"]
    ).to_dicts()
    assert len(known) == 109 * len(codes)
    for row in known:
        for setting, column in (("11", "nonfac_non_qp"), ("22", "fac_non_qp")):
            assert _fee(row["hcpcs"], row["zip"], setting) == row[column]


def _fee(code: str, zip_code: str, setting: str) -> str | None:
    try:
        fee = unit_fee(
            code,
            date(2026, 6, 1),
            place_of_service=setting,
            billing_zip=zip_code,
            billing_npi="",
            is_assigned=True,
        )
    except NotPayable:
        return None
    return str(fee)


def test_who_does_not_take_part_is_paid_five_hundredths_less() -> None:
    assert _fee("99457", "33136", "11") is not None
    less = unit_fee(
        "99457",
        date(2026, 6, 1),
        place_of_service="11",
        billing_zip="33136",
        billing_npi="",
        is_assigned=False,
    )
    full = Decimal(_fee("99457", "33136", "11") or 0)
    assert abs(less - full * Decimal("0.95")) <= Decimal("0.005")


def test_ten_thousand_claims_are_answered_in_seconds(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    (outbox / "many.837").write_bytes(write_outbox(10_000))
    started = time.process_time()
    done = answer(outbox, tmp_path / "inbox", seed=7)
    assert time.process_time() - started < 20
    assert len(done.cases) == 10_000
    by_chance = Counter(done.cases.values())
    assert by_chance["paid"] > 8_000
    assert {"deductible_first", "crossover", "rejected_A7", "takeback", "units_cut"} <= set(by_chance)


def test_the_payer_never_loads_the_product_it_judges() -> None:
    rooms = {"billing", "tasks", "flows", "schemas", "console"}
    script = "import sys, infra.sandbox.payer; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "infra" in loaded.split()
    assert not rooms & set(loaded.split())
