"""The payer: reads the 837P files of an outbox and answers TA1, 999, 277CA and 835 into an inbox.

`python -m infra.sandbox.payer --outbox O --inbox I --seed 7 [--mix default|paid] [--script case=claim_number]
[--script all]` plays the clearinghouse, every payer behind it, and the bank; O and I are `s3://bucket/prefix`
or folders. It prices by its own book (`payer_book`) and knows the scripted cases of payer_cases.csv. It
stands outside the product: nothing of `billing`, `tasks` or `flows` may be used here.

A file whose TA1 is in the inbox is answered already and left alone. Files are named by control numbers
only: `<receiver>_<sender>_<number of our interchange>.ta1`, `<receiver>_<own number>.<999|277ca|835>`, and
the bank's `bank/<receiver>_<own number>.<csv|bai2|ach>`.
"""

import argparse
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from infra.sandbox.payer_acknowledgements import rejected_by, write_277ca, write_999, write_ta1
from infra.sandbox.payer_bank import deposits, write_bai2, write_csv, write_nacha
from infra.sandbox.payer_cases import MIXES, BadScript, Case, choose
from infra.sandbox.payer_claims import Claim, ClaimFile, read_claim_file
from infra.sandbox.payer_judgement import judge
from infra.sandbox.payer_remittances import Remittance, collect, write_835
from infra.sandbox.payer_x12 import Sender
from infra.sandbox.places import Place, place

PAYMENT_FLOOR_DAYS: Final = 14  # Medicare pays electronic claims no earlier.
_NUMBERED: Final = re.compile(r"^(?:bank/)?(\w+)_(\d{9})(?:_AGAIN)?\.\w+$")


@dataclass(frozen=True)
class Answered:
    """What one run of the payer did.

    Attributes:
        files: The keys it wrote, in order.
        cases: What happened to each claim, by claim number.
    """

    files: tuple[str, ...]
    cases: dict[str, str]


def answer(
    outbox: str | os.PathLike[str],
    inbox: str | os.PathLike[str],
    *,
    seed: int,
    mix: str = "default",
    script: Sequence[str] = (),
    pay_after_days: int = PAYMENT_FLOOR_DAYS,
) -> Answered:
    """Answer every 837P of the outbox that has no answer yet.

    Args:
        outbox: Where our files lie.
        inbox: Where the answers go.
        seed: The same seed, files and inbox give the same answers.
        mix: `paid` pays every claim; `default` gives each case of the table its chance.
        script: `case=claim_number`, any number of times, or `all`.
        pay_after_days: Days from a file's date to its payment.

    Raises:
        BadScript: If the script cannot be played; nothing is written then.
    """
    with place(outbox) as ours, place(inbox) as theirs:
        known = theirs.list_keys()
        read = (read_claim_file(ours.get(key)) for key in ours.list_keys())
        files = [file for file in read if file is not None and _ta1_key(file) not in known]
        chosen = choose(files, seed, mix, script)
        numbers = _last_numbers(known)
        written = [
            key for file in files for key in _answer_file(file, chosen, theirs, numbers, pay_after_days)
        ]
    return Answered(tuple(written), {number: case.name for number, case in chosen.items()})


def _ta1_key(file: ClaimFile) -> str:
    return f"{file.receiver_id}_{file.sender_id}_{file.control_number:09}.ta1"


def _last_numbers(keys: list[str]) -> Counter[str]:
    """Find the last control number each sender of the inbox has used."""
    numbers: Counter[str] = Counter()
    for match in filter(None, map(_NUMBERED.match, keys)):
        numbers[match[1]] = max(numbers[match[1]], int(match[2]))
    return numbers


@dataclass
class _Desk:
    """Where one file's answers are numbered and put down."""

    file: ClaimFile
    inbox: Place
    numbers: Counter[str]

    @property
    def between(self) -> Sender:
        return Sender(self.file.receiver_id, self.file.sender_id, self.file.usage)

    def number(self) -> int:
        self.numbers[self.file.receiver_id] += 1
        return self.numbers[self.file.receiver_id]

    def put(self, number: int, kind: str, data: bytes, again: str = "") -> str:
        folder = "bank/" if kind in {"csv", "bai2", "ach"} else ""
        key = f"{folder}{self.file.receiver_id}_{number:09}{again}.{kind}"
        self.inbox.put(key, data)
        return key


def _answer_file(
    file: ClaimFile, chosen: dict[str, Case], inbox: Place, numbers: Counter[str], pay_after_days: int
) -> Iterator[str]:
    """Answer one file in the order in which the world would, but for the cases that turn it round."""
    desk = _Desk(file, inbox, numbers)
    arrived = file.created_at + timedelta(minutes=20)
    is_refused = any(chosen[claim.number].stage == "TA1" for claim in file.claims)
    ta1 = write_ta1(file, desk.between, desk.number(), arrived, is_rejected=is_refused)
    key = _ta1_key(file)
    inbox.put(key, ta1)
    yield key
    if is_refused:
        return
    refused = {claim.transaction: claim for claim in file.claims if chosen[claim.number].stage == "999"}
    number = desk.number()
    yield desk.put(number, "999", write_999(file, desk.between, number, arrived, refused))
    received = [claim for claim in file.claims if claim.transaction not in refused]
    passed = [claim for claim in received if rejected_by(chosen[claim.number]) != "clearinghouse"]
    decided = [claim for claim in passed if rejected_by(chosen[claim.number]) is None]
    outcomes = [(judge(claim, chosen[claim.number]), chosen[claim.number]) for claim in decided]
    remittances = collect(outcomes, (file.created_at + timedelta(days=pay_after_days)).date())
    yield from _remit(desk, [one for one in remittances if one.is_first])
    yield from _acknowledge(desk, received, passed, chosen, arrived)
    yield from _remit(desk, [one for one in remittances if not one.is_first])
    arriving = deposits(remittances)
    if arriving:
        number = desk.number()
        yield desk.put(number, "csv", write_csv(arriving))
        yield desk.put(number, "bai2", write_bai2(arriving, number))
        yield desk.put(number, "ach", write_nacha(arriving, number))


def _acknowledge(
    desk: _Desk, received: list[Claim], passed: list[Claim], chosen: dict[str, Case], arrived: datetime
) -> Iterator[str]:
    """Send the clearinghouse's 277CA at once, and each payer's the day after."""
    by_payer: dict[str, list[Claim]] = defaultdict(list)
    for claim in passed:
        by_payer[claim.payer_id].append(claim)
    next_day = arrived + timedelta(days=1)
    sent = [("clearinghouse", arrived, received)] if received else []
    sent += [("payer", next_day, claims) for _, claims in sorted(by_payer.items())]
    for source, at, claims in sent:
        number = desk.number()
        data = write_277ca(desk.file, desk.between, number, at, claims, chosen, source=source)
        yield desk.put(number, "277ca", data)


def _remit(desk: _Desk, remittances: list[Remittance]) -> Iterator[str]:
    """Number the remittances by date and send them."""
    traces: dict[str, str] = {}
    for remittance in sorted(remittances, key=lambda one: one.paid_on):
        number = desk.number()
        own_trace = f"EFT{number:09}"
        transfer = remittance.transfer
        remittance.trace_number = traces.setdefault(transfer, own_trace) if transfer else own_trace
        at = datetime.combine(remittance.paid_on, datetime.min.time()).replace(hour=6)
        data = write_835(remittance, desk.between, number, at)
        for again in ("", "_AGAIN")[: remittance.copies]:
            yield desk.put(number, "835", data, again)


def main(arguments: list[str] | None = None) -> int:
    """Answer from the command line; 0 done, 2 when the script cannot be played."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.sandbox.payer", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--outbox", required=True, metavar="S3_OR_FOLDER")
    parser.add_argument("--inbox", required=True, metavar="S3_OR_FOLDER")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--mix", choices=MIXES, default="default")
    parser.add_argument("--script", action="append", default=[], metavar="CASE=CLAIM|all")
    parser.add_argument("--pay-after", type=int, default=PAYMENT_FLOOR_DAYS, metavar="DAYS")
    given = parser.parse_args(arguments)
    try:
        answered = answer(
            given.outbox,
            given.inbox,
            seed=given.seed,
            mix=given.mix,
            script=given.script,
            pay_after_days=given.pay_after,
        )
    except BadScript as refusal:
        print(refusal)
        return 2
    kinds = Counter(key.rpartition(".")[2] for key in answered.files)
    happened = Counter(answered.cases.values())
    print(
        "answers: "
        + (", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none, all files have theirs")
    )
    print("claims:  " + (", ".join(f"{count} {case}" for case, count in happened.most_common()) or "none"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
