"""Actions: what to do about a work item, who does it and until when, by dated tables.

`billing.worklist` hands over its items. A denial is decided on the whole set of its adjustment and remark
codes: the rows of denial_actions.csv are tried by rank and the first that fits wins; everything else, and a
denial no row fits, by kind and code in work_actions.csv. Which items there are is not known here.
"""

from functools import cache
from typing import Final

import polars as pl

from billing.reference.tables import PACKAGED, covers, read_table

DECIDED: Final = ("owner", "retry_class", "action", "deadline")
_ROW: Final = ("retry_class", "owner", "deadline_from", "deadline_days", "action")


def decide(items: pl.DataFrame, filing: pl.DataFrame) -> pl.DataFrame:
    """Add owner, retry_class, action and deadline to items.

    Args:
        items: kind, code, adjustments and remarks (lists of codes; null unless it is a denial), since (the
            day of the answer or of the fact), payer_kind and date_of_service (null where there is no claim).
        filing: How many months after the service each kind of payer takes a claim (`Reference.filing`).
    """
    numbered = items.with_row_index("item")
    by_set = _by_set(numbered)
    by_code = _by_code(numbered.join(by_set, on="item", how="anti"))
    decided = numbered.join(pl.concat([by_set, by_code]), on="item", how="left", maintain_order="left")
    limits = filing.select("payer_kind", "limit_months", "effective_from", "effective_to")
    # A table with one row for a payer kind and day: no item is ever doubled here.
    in_time = (
        decided.select("item", "payer_kind", "date_of_service")
        .join(limits, on="payer_kind")
        .filter(covers(pl.col("date_of_service")))
        .select("item", filing_ends=pl.col("date_of_service").dt.offset_by(pl.format("{}mo", "limit_months")))
    )
    counted = pl.col("since") + pl.duration(days=pl.col("deadline_days"))
    deadline = pl.when(pl.col("deadline_from") == "filing").then("filing_ends").otherwise(counted)
    dated = decided.join(in_time, on="item", how="left", maintain_order="left").with_columns(
        deadline=deadline
    )
    return dated.select(*items.columns, *DECIDED)


@cache
def _table(name: str) -> pl.DataFrame:
    return read_table(PACKAGED / f"{name}.csv").with_columns(pl.col("deadline_days").cast(pl.Int64))


def _by_set(items: pl.DataFrame) -> pl.DataFrame:
    """Find the first row whose adjustments are all, and whose remarks are at least one, among an item's.

    A row's `*-16` stands for CARC 16 in any group.
    """
    rules = _table("denial_actions").with_columns(
        pl.col("rank").cast(pl.Int64),
        needs=pl.col("adjustments").str.split(";").fill_null([]),
        any_of=pl.col("remarks").str.split(";").fill_null([]),
    )
    denials = items.filter(pl.col("adjustments").is_not_null())
    # Few distinct sets however many denials: a fault repeats itself.
    sets = denials.select("adjustments", "remarks", "since").unique()
    in_any_group = pl.col("adjustments").list.eval(pl.element().str.replace(r"^[^-]*-", "*-"))
    has_all = pl.col("needs").list.set_difference(pl.concat_list("adjustments", in_any_group)).list.len() == 0
    is_open = pl.col("any_of").list.len() == 0
    has_one = pl.col("any_of").list.set_intersection(pl.col("remarks")).list.len() > 0
    first = (
        sets.join(rules.drop("adjustments", "remarks"), how="cross")
        .filter(has_all, is_open | has_one, covers(pl.col("since")))
        .sort("rank")
        .group_by("adjustments", "remarks", "since", maintain_order=True)
        .first()
    )
    found = denials.join(
        first.select("adjustments", "remarks", "since", *_ROW), on=["adjustments", "remarks", "since"]
    )
    return found.select("item", *_ROW)


def _by_code(items: pl.DataFrame) -> pl.DataFrame:
    """Find the row of an item's kind and code, else the row of its kind without a code."""
    rules = _table("work_actions").rename({"code": "rule_code"})
    is_of_code = pl.col("rule_code") == pl.col("code")
    return (
        items.select("item", "kind", "code", "since")
        .join(rules, on="kind")
        .filter(is_of_code | pl.col("rule_code").is_null(), covers(pl.col("since")))
        .sort("item", is_of_code.fill_null(value=False), descending=[False, True])
        .group_by("item", maintain_order=True)
        .first()
        .select("item", *_ROW)
    )
