"""Values: X12 text as amounts and quantities, one by one and as whole columns."""

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edi.values import as_amount, as_quantity, to_amounts, to_quantities

FIGURES = st.text("0123456789.+-eE_, ", max_size=22) | st.decimals(-(10**9), 10**9, places=2).map(str)


@given(st.lists(FIGURES | st.none(), max_size=6))
def test_a_column_is_read_as_each_of_its_texts_is(texts: list[str | None]) -> None:
    column = pl.Series("figure", texts, pl.String)
    for of_column, of_each in ((to_amounts, as_amount), (to_quantities, as_quantity)):
        assert of_column(column).equals(
            column.to_frame().select(of_each(pl.col("figure"))).to_series(),
            check_dtypes=True,
            check_names=True,
        )


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("38.42", "38.42"),
        ("60", "60"),
        (".78", "0.78"),
        ("5.", "5"),
        ("-12.5", "-12.5"),
        ("+3", "3"),
        ("1.230", "1.23"),
        ("0000000000000.50", "0.5"),
        ("1.234", None),
        ("1e2", None),
        ("2E1", None),
        ("1,5", None),
        ("", None),
        (".", None),
        ("12345678901234567.00", None),
    ],
)
def test_an_amount_has_at_most_two_decimals_and_no_exponent(text: str, amount: str | None) -> None:
    # Beside plain ones, as in a real column.
    read = to_amounts(pl.Series(["1.5", text, None, "7"]))
    assert read.to_list() == [Decimal("1.5"), None if amount is None else Decimal(amount), None, Decimal(7)]


def test_a_part_of_a_column_is_read_without_what_stands_around_it() -> None:
    column = pl.Series(["1e5", "1.5", "2.25", "1.234"])
    assert to_amounts(column.slice(1, 2)).to_list() == [Decimal("1.5"), Decimal("2.25")]


def test_a_quantity_has_at_most_four_decimals() -> None:
    assert to_quantities(pl.Series(["1", "2.5", "0.0625", "0.00625"])).to_list() == [
        Decimal(1),
        Decimal("2.5"),
        Decimal("0.0625"),
        None,
    ]
