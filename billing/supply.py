"""Supply: which earned device periods stand on a claim, and what keeps the others off.

`billing.month` asks for both. A period has its own date, so something may stand against it on that date and
not against the month's time: the time is billed without it. Which periods were earned, and on how many days
of data, is counted in `billing.device_days`.
"""

from datetime import date

import polars as pl
from pandera.typing.polars import DataFrame

from billing.gates import standing_reasons
from billing.holds import Decided, hold_reasons
from billing.reference.tables import Reference
from schemas.outputs import SupplyLeftOutFile, columns_of
from schemas.stages import Candidates, People, SupplyPeriods

PERIOD = ("patient_id", "date_of_service")


def reasons_against_supply(
    supply: DataFrame[SupplyPeriods],
    people: DataFrame[People],
    coverage: pl.DataFrame,
    reference: Reference,
    *,
    month: date,
    today: date,
) -> pl.DataFrame:
    """Find what stands against each period on its own date: patient_id, date_of_service, reason."""
    dated = supply.select("patient_id", gate_on="date_of_service", is_reached=pl.lit(value=True))
    standing = standing_reasons(dated.join(people, on="patient_id"), coverage, reference, month, today)
    return standing.rename({"gate_on": "date_of_service"})


def supply_left_out(
    supply: DataFrame[SupplyPeriods],
    against: pl.DataFrame,
    offered: DataFrame[Candidates],
    decided: Decided,
) -> DataFrame[SupplyLeftOutFile]:
    """List the earned periods that are on no claim although no hold says so, with every reason.

    Args:
        supply: Every earned period.
        against: What `reasons_against_supply` found for them.
        offered: The month's lines before those without a price were dropped.
        decided: The month's holds, and who is billed from another patient record.
    """
    unpriced = [
        offered.filter("is_supply", pl.col(amount).is_null()).select(*PERIOD, reason=pl.lit(reason))
        for amount, reason in (("charge", "NO_CHARGE"), ("allowed_estimate", "NO_RATE"))
    ]
    repeated = supply.select(PERIOD).join(decided.repeated, on="patient_id")
    stopped = decided.holds.filter(~pl.col("is_note")).select("patient_id")
    rows = (
        pl.concat([against.select(*PERIOD, "reason"), *unpriced, repeated])
        .unique()
        .join(stopped, on="patient_id", how="anti")
        .join(supply, on=PERIOD)
        .join(hold_reasons(), on="reason")
    )
    return SupplyLeftOutFile.validate(
        rows.select(columns_of(SupplyLeftOutFile)).sort(*PERIOD, "code", "reason")
    )
