"""A model of months: entries that change, reruns, deaths, deliveries and answers in any order and repeated.

Hypothesis tells stories against a real ledger on SQLite. Whatever the story: at most one live claim per
key, what was sent stays as it was sent, the money posted is the money the files say, and a file that
comes again changes nothing.
"""

import shutil
import tempfile
from collections import Counter
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tasks import registration
from tasks.database import writing
from tasks.late_matching import match_again
from tasks.ledger import Ledger
from tests.acceptance.afterwards import KEY, ledger_of, rows
from tests.tasks.made_answers import LATER, NUMBERS, clp, era, post, status
from tests.tasks.made_answers import Svc as Line
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

PATIENTS = st.integers(0, 3)
CHARGES = st.sampled_from(["55.25", "60.00", "70.10"])
# Where a month-end may die: before anything, or after so many of its writes.
STAGES = st.integers(0, 4)


class PowerFailure(Exception):
    """The process dies here."""


@cache
def empty_ledger() -> Path:
    """Make a ledger once, to copy."""
    path = Path(tempfile.mkdtemp(prefix="model-")) / "ledger.sqlite"
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.upgrade()
    return path


class Months(RuleBasedStateMachine):
    """One practice, its ledger, and what a careful clerk would have noted on paper."""

    @initialize()
    def open(self) -> None:
        """Start with nothing."""
        self.folder = Path(tempfile.mkdtemp(prefix="model-"))
        shutil.copy(empty_ledger(), self.folder / "ledger.sqlite")
        self.url = f"sqlite:///{self.folder / 'ledger.sqlite'}"
        self.ledger = Ledger(self.url)
        self.entries: dict[int, tuple[str, str]] = {}
        self.sent: dict[str, str] = {}
        self.files: list[bytes] = []
        self.paid: dict[bytes, Decimal] = {}

    def teardown(self) -> None:
        """Forget it."""
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.folder)

    @rule(patient=PATIENTS, charge=CHARGES, evidence=st.sampled_from("ab"))
    def entries_come_or_change(self, patient: int, charge: str, evidence: str) -> None:
        """Log time for a patient, or correct it."""
        self.entries[patient] = (charge, evidence)

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def entries_are_withdrawn(self, data: st.DataObject) -> None:
        """Take a patient's time back."""
        del self.entries[data.draw(st.sampled_from(sorted(self.entries)))]

    @precondition(lambda self: self.entries)
    @rule(stages=STAGES)
    def month_end_runs(self, stages: int) -> None:
        """Run the month, and let it die after some of its writes."""
        claims, lines = self._billed()
        where: dict[str, Any] = {"month": OCTOBER, "source": SOURCE, "at": AT}
        if stages == 0:
            with pytest.raises(PowerFailure):
                self._register_and_die(claims, lines, where)
            return
        registered = self.ledger.register_claims(claims, lines, **where)
        if stages > 1:
            self.ledger.withdraw_missing(registered.claim_numbers, **where)
        if stages > 2:
            self.ledger.allocate_interchanges(**where)
        if stages > 3:
            for file in self._files("reserved"):
                self.ledger.record_written(file["id"], uri=file["file_name"], sha256="f" * 64, size=1)

    @rule(has_receipt=st.booleans())
    def submission_runs(self, has_receipt: bool) -> None:
        """Send what is ready; without a receipt it died in between, and the next one looks and goes on."""
        for file in self._files("written", "sending"):
            self.ledger.record_sending(file["id"])
            for claim in self._claims(interchange_id=file["id"]):
                self.sent[claim["claim_number"]] = claim["content_sha256"]
            if has_receipt:
                self.ledger.record_sent(file["id"], receipt={}, at=AT)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), code=st.sampled_from(["A1:19", "A2:20", "A3:21"]))
    def payer_takes_in(self, data: st.DataObject, code: str) -> None:
        """Answer a claim with a 277CA."""
        number = data.draw(st.sampled_from(sorted(self.sent)))
        self._comes(status((number, code, "ICN1"), number=300 + len(self.files)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), paid=st.sampled_from(["0", "31.36"]))
    def payer_pays(self, data: st.DataObject, paid: str) -> None:
        """Answer a claim, or one nobody knows, with an 835."""
        number = data.draw(st.sampled_from([*sorted(self.sent), NUMBERS[-1]]))
        rest = Decimal("55.25") - Decimal(paid)
        line = Line("55.25", paid, (f"CO*45*{rest}",), control=f"{number}-01")
        remittance = era(clp(number, line), number=len(self.files) + 1, trace=f"EFT{len(self.files)}")
        self.paid[remittance] = Decimal(paid)
        self._comes(remittance)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def files_come_again(self, data: st.DataObject) -> None:
        """Replay some of what came, from the first on or in any order: nothing changes."""
        before = ledger_of(self.url, self.folder)
        for file in data.draw(st.lists(st.sampled_from(self.files), min_size=1, max_size=3)):
            post(self.ledger, file)
        assert ledger_of(self.url, self.folder) == before

    @rule()
    def collection_settles_up(self) -> None:
        """Match what waited, charge what was sent; the second time there is nothing left to do."""
        match_again(self.ledger.engine, LATER)
        before = ledger_of(self.url, self.folder)
        match_again(self.ledger.engine, LATER)
        assert ledger_of(self.url, self.folder) == before

    @invariant()
    def at_most_one_claim_lives_per_key(self) -> None:
        """No patient's month is claimed twice."""
        keys = Counter(tuple(claim[name] for name in KEY) for claim in self._claims(is_live=True))
        assert all(count == 1 for count in keys.values())

    @invariant()
    def control_numbers_serve_once(self) -> None:
        """No two files bear one number."""
        numbers = Counter(file["control_number"] for file in self._files())
        assert all(count == 1 for count in numbers.values())

    @invariant()
    def what_was_sent_stays_as_it_was_sent(self) -> None:
        """A sent claim keeps its content and its file."""
        held = {claim["claim_number"]: claim for claim in self._claims()}
        kept = {file["id"] for file in self._files("sending", "sent")}
        for number, content in self.sent.items():
            assert held[number]["content_sha256"] == content
            assert held[number]["interchange_id"] in kept

    @invariant()
    def the_money_posted_is_the_money_the_files_say(self) -> None:
        """Payments add up over all files; each claim is charged at most once, and exactly."""
        if not hasattr(self, "url"):
            return
        posted = rows(self.url, "posting")
        payments = sum((row["amount"] for row in posted if row["account"] == "payment"), Decimal(0))
        assert payments == sum(self.paid.values(), Decimal(0))
        charged: Counter[int] = Counter()
        for row in posted:
            if row["account"] == "charge":
                charged[row["claim_id"]] += row["amount"]
        totals = {claim["id"]: claim["total_charge"] for claim in self._claims()}
        assert all(amount in (0, totals[claim]) for claim, amount in charged.items())

    def _billed(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Say what the month claims now."""
        made = [
            month(1, start=patient, charge=charge, evidence=evidence)
            for patient, (charge, evidence) in sorted(self.entries.items())
        ]
        return pl.concat([claims for claims, _ in made]), pl.concat([lines for _, lines in made])

    def _register_and_die(self, claims: pl.DataFrame, lines: pl.DataFrame, where: dict[str, Any]) -> None:
        with writing(self.ledger.engine) as connection:
            registration.register(connection, claims, lines, **where)
            raise PowerFailure

    def _comes(self, file: bytes) -> None:
        self.files.append(file)
        post(self.ledger, file)

    def _claims(self, **having: object) -> list[dict[str, Any]]:
        found = rows(self.url, "claim") if hasattr(self, "url") else []
        return [claim for claim in found if all(claim[name] == value for name, value in having.items())]

    def _files(self, *states: str) -> list[dict[str, Any]]:
        found = rows(self.url, "interchange") if hasattr(self, "url") else []
        return [file for file in found if not states or file["state"] in states]


TestMonths = Months.TestCase
TestMonths.settings = settings(
    max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
)
