"""The bank: every deposit is kept once however often and in whatever form the bank tells of it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra.sandbox.payer_bank import Deposit, write_bai2, write_csv, write_nacha
from schemas.errors import Refused
from tasks import database
from tasks.bank import DEPOSIT, MATCH, bank_files, post_bank_files
from tasks.claim_states import TABLES
from tasks.ledger import Ledger

AT = datetime(2026, 12, 31, 12, tzinfo=UTC)
FRIDAY = date(2026, 11, 20)
PAYER = "1512345678"
TWO = [
    Deposit(FRIDAY, Decimal("60.00"), "93001", PAYER, "PARTB HCCLAIMPMT"),
    Deposit(FRIDAY, Decimal("60.00"), "93001", PAYER, "PARTB HCCLAIMPMT"),
    Deposit(FRIDAY, Decimal("5.00"), "93002", PAYER, "PARTB HCCLAIMPMT"),
]


def _rows(ledger: Ledger, table: sa.Table) -> int:
    with database.reading(ledger.engine) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def _post(ledger: Ledger, *files: tuple[str, bytes]) -> list[tuple[int, int]]:
    read, _ = post_bank_files(ledger, iter(files), AT)
    return [(one.deposits, one.new) for one in read]


def _remittance(ledger: Ledger, amount: str, trace: str) -> None:
    with database.writing(ledger.engine) as connection:
        connection.execute(
            sa.insert(TABLES["inbound_file"]).values(
                id=1, sha256="a", name="1.835", uri="u", size=1, received_at=AT, kind="835", state="posted",
                content_sha256="c", summary={}, findings=[], origin="test",
            )
        )  # fmt: skip
        connection.execute(
            sa.insert(TABLES["remittance"]).values(
                id=1, inbound_file_id=1, transaction_index=1, segment=3, trace_number=trace,
                originator_id=PAYER, amount=Decimal(amount), method="ACH", payment_date=FRIDAY,
                is_balanced=True,
                state="posted", content_sha256="c", identity_key="k",
            )
        )  # fmt: skip


def test_the_same_deposits_in_three_forms_are_kept_once(ledger: Ledger) -> None:
    files = (("1.csv", write_csv(TWO)), ("1.bai2", write_bai2(TWO, 1)), ("1.ach", write_nacha(TWO, 1)))
    assert _post(ledger, *files) == [(3, 3), (3, 0), (3, 0)]
    assert _post(ledger, *files) == [(3, 0), (3, 0), (3, 0)]
    assert _rows(ledger, DEPOSIT) == 3


def test_a_later_file_adds_only_what_is_new(ledger: Ledger) -> None:
    assert _post(ledger, ("1.csv", write_csv(TWO[:1]))) == [(1, 1)]
    assert _post(ledger, ("2.csv", write_csv(TWO))) == [(3, 2)]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_deposit_is_kept_once_though_one_form_names_no_company_and_one_another_day(
    ledger: Ledger, first: int
) -> None:
    on_monday = [replace(one, paid_on=FRIDAY + timedelta(days=3)) for one in TWO]
    files = [
        ("1.ach", write_nacha(TWO, 1)),
        ("1.csv", write_csv([replace(one, company_id="") for one in TWO])),
        ("1.bai2", write_bai2(on_monday, 1)),
    ]
    files = files[first:] + files[:first]
    assert _post(ledger, *files) == [(3, 3), (3, 0), (3, 0)]
    assert _post(ledger, *files) == [(3, 0), (3, 0), (3, 0)]


def test_one_form_tells_equal_deposits_of_two_days_apart(ledger: Ledger) -> None:
    next_day = [replace(TWO[0], paid_on=FRIDAY + timedelta(days=1))]
    assert _post(ledger, ("1.csv", write_csv(TWO[:1])), ("2.csv", write_csv(next_day))) == [(1, 1), (1, 1)]


def test_equal_deposits_of_two_companies_are_two(ledger: Ledger) -> None:
    other = [replace(TWO[0], company_id="1999999999")]
    assert _post(ledger, ("1.csv", write_csv(TWO[:1])), ("2.ach", write_nacha(other, 1))) == [(1, 1), (1, 1)]


def test_a_deposit_under_a_key_of_before_is_known(ledger: Ledger) -> None:
    with database.writing(ledger.engine) as connection:
        connection.execute(
            sa.insert(DEPOSIT).values(
                file_sha256="a", deposited_on=FRIDAY, recorded_at=AT, amount=Decimal("60.00"),
                trace_number="93001", company_id=PAYER, dedupe_key="2026-11-20:60.00:93001:512345678::1",
            )
        )  # fmt: skip
    assert _post(ledger, ("1.csv", write_csv(TWO)), ("1.ach", write_nacha(TWO, 1))) == [(3, 2), (3, 0)]


def test_deposits_without_a_number_are_known_by_day_amount_and_words(ledger: Ledger) -> None:
    cheques = [
        Deposit(FRIDAY, Decimal("7.00"), "", "", text) for text in ("CHEQUE 1", "CHEQUE 2", "CHEQUE 2")
    ]
    assert _post(ledger, ("1.csv", write_csv(cheques[:2])), ("2.csv", write_csv(cheques))) == [(2, 2), (3, 1)]


def test_what_the_bank_takes_back_is_no_longer_matched(ledger: Ledger) -> None:
    _remittance(ledger, "60.00", "93001")
    back = [replace(TWO[0], paid_on=FRIDAY + timedelta(days=4), amount=Decimal("-60.00"))]
    _, matched = post_bank_files(
        ledger, iter([("1.csv", write_csv(TWO[:1])), ("2.csv", write_csv(back))]), AT
    )
    assert matched.groups.select("status", "difference").rows() == [("amount_differs", Decimal("-60.00"))]


@pytest.mark.parametrize(
    "broken", [b"date,amount\n2026-11-20,99999999999999.00\n", b"date,amount\n1," + b"x" * 200_000]
)
def test_a_broken_csv_does_not_stop_the_files_behind_it(ledger: Ledger, broken: bytes) -> None:
    assert _post(ledger, ("1.csv", broken), ("2.csv", write_csv(TWO))) == [(0, 0), (3, 3)]


def test_a_damaged_file_is_reported_and_the_others_are_kept(ledger: Ledger) -> None:
    files = iter([("bad.csv", b"nothing"), ("good.csv", write_csv(TWO))])
    read, _ = post_bank_files(ledger, files, AT)
    assert [one.kind for one in read] == ["unreadable", "csv"]
    assert "name the columns" in (read[0].problem or "")
    assert _rows(ledger, DEPOSIT) == 3


def test_matches_are_kept_and_made_anew_with_every_file(ledger: Ledger) -> None:
    _remittance(ledger, "120.00", "93001")
    _, matched = post_bank_files(ledger, iter([("1.csv", write_csv(TWO[:1]))]), AT)
    assert matched.groups["status"].to_list() == ["amount_differs"]
    assert _rows(ledger, MATCH) == 1
    _, matched = post_bank_files(ledger, iter([("2.csv", write_csv(TWO))]), AT)
    assert matched.groups["status"].to_list() == ["deposit_without_era", "matched"]
    assert matched.groups["how"].to_list() == [None, "split_payment"]
    assert _rows(ledger, MATCH) == 2


def test_the_inbox_s_bank_folder_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "1.csv").write_bytes(b"x")
    (tmp_path / "bank" / "readme.md").write_bytes(b"x")
    (tmp_path / "1.835").write_bytes(b"x")
    assert [name for name, _ in bank_files(None, str(tmp_path))] == ["bank/1.csv"]


@pytest.mark.parametrize(("file", "says"), [(None, "Name a bank file"), ("/nowhere/1.csv", "cannot be read")])
def test_what_cannot_be_found_is_said_in_a_sentence(file: str | None, says: str) -> None:
    files: Iterator[tuple[str, bytes]] = bank_files(file, None)
    with pytest.raises(Refused, match=says):
        next(files)
