"""Posting rules: the account of each cent, by hand-worked cases; lines found again without numbers."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from billing.line_matching import match_lines
from billing.posting_rules import MONEY, denied_lines, outcomes_of, postings_of, with_accounts
from billing.reference.tables import PACKAGED, read_table
from schemas.ledger_answers import ACCOUNTS, OUTCOMES

CASES = pl.read_csv(Path(__file__).parent / "cases/posting_accounts.csv", infer_schema=False).to_dicts()
DAY = date(2026, 11, 17)


def line_of(
    paid: str, *cas: tuple[str, str, str], on: date = DAY
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Make one claim of one line with adjustments (group, reason, amount)."""
    money = pl.Series([Decimal(paid)], dtype=MONEY)
    claims = pl.DataFrame({"claim": [1], "payment": [1], "segment": [5], "posted_on": [on], "paid": money})
    lines = pl.DataFrame({"line": [1], "claim": [1], "segment": [7], "paid": money})
    adjustments = pl.DataFrame(
        [
            {
                "claim": 1,
                "line": 1,
                "segment": 8,
                "number": n,
                "group_code": g,
                "reason_code": r,
                "amount": Decimal(a),
            }
            for n, (g, r, a) in enumerate(cas, 1)
        ],
        schema={
            **dict.fromkeys(("claim", "line", "segment", "number"), pl.Int64),
            "group_code": pl.String,
            "reason_code": pl.String,
            "amount": MONEY,
        },
    )
    return claims, lines, with_accounts(adjustments, lines, claims)


def plbs(*pairs: tuple[str, str]) -> pl.DataFrame:
    """Make provider adjustments (reason, amount)."""
    reasons, amounts = zip(*pairs, strict=True) if pairs else ((), ())
    return pl.DataFrame(
        {"reason_code": reasons, "amount": [Decimal(amount) for amount in amounts]},
        schema={"reason_code": pl.String, "amount": MONEY},
    ).with_columns(
        payment=pl.lit(1, pl.Int64),
        segment=pl.lit(9, pl.Int64),
        number=pl.int_range(1, pl.len() + 1),
        posted_on=pl.lit(DAY),
        reference=pl.lit("X"),
    )


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_each_adjustment_goes_to_the_account_a_biller_would_choose(case: dict[str, str]) -> None:
    _, _, adjusted = line_of(
        case["paid"], (case["group"], case["reason"], case["amount"]), on=date.fromisoformat(case["paid_on"])
    )
    row = adjusted.row(0, named=True)
    assert (row["account"], str(row["is_denial"]).lower()) == (case["account"], case["is_denial"])


def test_postings_of_a_line_settle_its_charge_and_skip_nothing_amounts() -> None:
    found = postings_of(
        *line_of("38.42", ("CO", "45", "11.19"), ("CO", "253", "0.78"), ("OA", "23", "0")), plbs()
    )
    assert dict(found.select("account", "amount").rows()) == {
        "payment": Decimal("38.42"),
        "contractual": Decimal("11.19"),
        "sequestration": Decimal("0.78"),
    }
    assert found["segment"].to_list() == [7, 8, 8]


def test_a_line_that_the_deductible_takes_whole_is_not_denied() -> None:
    _, _, adjusted = line_of("0", ("PR", "1", "40"), ("CO", "45", "10"))
    assert denied_lines(adjusted).is_empty()
    _, _, adjusted = line_of("0", ("CO", "97", "40"), ("CO", "45", "10"))
    assert denied_lines(adjusted).to_list() == [1]


def test_what_is_paid_beyond_the_lines_stands_at_the_claim() -> None:
    claims, lines, adjusted = line_of("38.42")
    found = postings_of(claims.with_columns(paid=pl.lit(Decimal("40.00"), MONEY)), lines, adjusted, plbs())
    assert found.select("line", "amount").rows() == [(1, Decimal("38.42")), (None, Decimal("1.58"))]


def test_provider_adjustments_keep_their_sign_and_their_account() -> None:
    claims, lines, adjusted = line_of("38.42")
    pairs = (("WO", "10"), ("FB", "-5"), ("72", "3"), ("L6", "-1.27"), ("AP", "2"), ("", "1"))
    found = postings_of(claims, lines, adjusted, plbs(*pairs)).filter(pl.col("claim").is_null())
    assert found["account"].to_list() == [
        "takeback",
        "forwarding_balance",
        "refund",
        "interest",
        "other_adjustment",
        "other_adjustment",
    ]
    assert found["amount"].sum() == Decimal("9.73")


def test_every_row_of_the_tables_names_an_account_or_outcome_and_its_source() -> None:
    accounts = read_table(PACKAGED / "posting_accounts.csv")
    outcomes = read_table(PACKAGED / "answer_outcomes.csv")
    assert set(accounts["account"]) <= set(ACCOUNTS)
    assert set(outcomes["outcome"]) <= set(OUTCOMES)
    for table in (accounts, outcomes):
        assert table["source"].null_count() == table["effective_from"].null_count() == 0


def test_a_code_nobody_knows_is_to_be_investigated() -> None:
    said = pl.DataFrame({"code": ["A2", "ZZ", None], "note_code": ["*", "*", "*"]})
    assert outcomes_of(said, "277CA", DAY).to_list() == ["accepted", "investigate", "investigate"]


OURS = pl.DataFrame(
    {
        "claim_id": [1, 1, 1],
        "line_number": [1, 2, 3],
        "line_control_number": ["C-01", "C-02", "C-03"],
        "code": ["99457", "99458", "99458"],
        "modifiers": ["", "", "76"],
        "charge": [Decimal("60.00")] * 3,
        "date_of_service": [date(2026, 10, 20)] * 3,
    },
    schema_overrides={"charge": MONEY},
)


def answered(*lines: tuple[str | None, str, str, str]) -> pl.DataFrame:
    """Make answered lines: control number, code, modifiers, charge."""
    frame = pl.DataFrame(
        lines, schema=["line_control_number", "code", "modifiers", "charge"], orient="row"
    ).with_columns(pl.col("charge").cast(MONEY), pl.col("line_control_number").cast(pl.String))
    return frame.with_columns(
        line=pl.int_range(1, pl.len() + 1),
        claim_id=pl.lit(1, pl.Int64),
        date_of_service=pl.lit(date(2026, 10, 20)),
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([("C-02", "99457", "", "60"), ("C-01", "99458", "", "60")], {1: 2, 2: 1}),
        ([("C-02", "99458", "", "40"), ("C-02", "99458", "", "20")], {1: 2, 2: 2}),
        ([(None, "99457", "", "60")], {1: 1}),
        ([(None, "99458", "76", "60")], {1: 3}),
        ([(None, "99457", "25", "60")], {1: 1}),
        ([(None, "99458", "59", "60")], {}),
        ([("C-02", "99458", "", "60"), (None, "99458", "", "60")], {1: 2, 2: 3}),
        ([("STRANGE", "G0511", "", "60")], {}),
    ],
    ids=[
        "by number",
        "split",
        "by code",
        "by modifier",
        "modifier changed",
        "two alike",
        "the other",
        "nobody's",
    ],
)
def test_lines_are_matched_where_only_one_can_be_meant(
    lines: list[tuple[str | None, str, str, str]], expected: dict[int, int]
) -> None:
    assert dict(match_lines(answered(*lines), OURS).sort("line").rows()) == expected
