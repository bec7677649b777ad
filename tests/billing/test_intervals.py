"""Intervals: the columnar arithmetic agrees with counting point by point."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.intervals import END, START, intersect, shared, subtract, union

INTEGERS = {"group": pl.Int64, "owner": pl.Int64, "row": pl.Int64, START: pl.Int64, END: pl.Int64}

# Short rows on a short line meet, touch, contain and repeat each other often; empty and inverted ones too.
rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 14), st.integers(-1, 7)), max_size=9
)
Row = tuple[int, int, int, int]


def frame(drawn: list[Row]) -> pl.DataFrame:
    cells = [
        (group, owner, n, start, start + length) for n, (group, owner, start, length) in enumerate(drawn)
    ]
    return pl.DataFrame(cells, schema=INTEGERS, orient="row")


def points(intervals: pl.DataFrame, *names: str) -> list[tuple[int, ...]]:
    """Every point of every row, labelled by the columns named; a point in two rows comes twice."""
    return sorted(
        (*(row[name] for name in names), point)
        for row in intervals.to_dicts()
        for point in range(row[START], row[END])
    )


@settings(deadline=None)
@given(rows)
def test_a_union_covers_the_same_points_once(drawn: list[Row]) -> None:
    once = points(union(frame(drawn), ["group"], ["row"]), "group")
    assert once == sorted(set(points(frame(drawn), "group")))


@settings(deadline=None)
@given(rows)
def test_a_union_gives_each_point_to_the_row_that_started_first(drawn: list[Row]) -> None:
    kept = points(union(frame(drawn), ["group"], ["row"]), "group", "row")
    for group, row, point in kept:
        covering = [
            (start, n)
            for n, (g, _, start, length) in enumerate(drawn)
            if g == group and 0 <= point - start < length
        ]
        assert (min(covering)[1]) == row


@settings(deadline=None)
@given(rows, rows)
def test_a_difference_leaves_each_row_the_points_outside_the_holes(
    drawn: list[Row], holes: list[Row]
) -> None:
    gone = set(points(frame(holes), "group"))
    expected = [
        (group, row, point)
        for group, row, point in points(frame(drawn), "group", "row")
        if (group, point) not in gone
    ]
    assert points(subtract(frame(drawn), frame(holes), ["group"]), "group", "row") == expected


@settings(deadline=None)
@given(rows)
def test_a_stretch_is_shared_where_two_owners_have_rows(drawn: list[Row]) -> None:
    owned = set(points(frame(drawn), "group", "owner"))
    expected = {
        (group, point) for group, _, point in owned if sum((group, o, point) in owned for o in range(3)) >= 2
    }
    found = points(shared(frame(drawn), ["group"], "owner"), "group")
    assert found == sorted(expected)


@settings(deadline=None)
@given(rows, rows)
def test_an_intersection_keeps_the_points_inside_disjoint_stretches(
    drawn: list[Row], inside: list[Row]
) -> None:
    stretches = union(frame(inside), ["group"], ["row"]).select("group", START, END, stretch="row")
    kept = points(intersect(frame(drawn), stretches, ["group"]), "group", "row", "stretch")
    expected = sorted(
        (group, row, stretch, point)
        for group, row, point in points(frame(drawn), "group", "row")
        for other, stretch, within in points(stretches, "group", "stretch")
        if (other, within) == (group, point)
    )
    assert kept == expected


def test_instants_are_exact_to_the_microsecond() -> None:
    start = datetime(2026, 10, 5, 14, tzinfo=UTC)
    one = timedelta(microseconds=1)
    instants = pl.DataFrame({"group": [1], START: [start], END: [start + 3 * one]})
    hole = pl.DataFrame({"group": [1], START: [start + one], END: [start + 2 * one]})

    rest = subtract(instants, hole, ["group"]).sort(START)
    assert rest.rows() == [(1, start, start + one), (1, start + 2 * one, start + 3 * one)]


def test_no_holes_and_no_rows_are_no_trouble() -> None:
    some, none = frame([(0, 0, 1, 3)]), frame([])
    assert subtract(some, none, ["group"]).equals(some)
    assert subtract(none, some, ["group"]).is_empty()
    assert intersect(some, none, ["group"]).is_empty()
    assert union(none, ["group"]).is_empty()
    assert shared(none, ["group"], "owner").is_empty()
