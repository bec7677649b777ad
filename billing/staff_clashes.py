"""Staff clashes: seconds that one staff member logged for two patients at once.

`tasks.settling` finds them for each part of the staff, before the month is cut into buckets of patients;
`billing.counted_time` leaves them out of those entries. What the rest of an entry is worth is not known here.
"""

import polars as pl
from pandera.typing.polars import DataFrame

from billing.intervals import END, START, intersect, shared
from schemas.stages import Clashes


def staff_clashes(entries: pl.DataFrame) -> DataFrame[Clashes]:
    """Find the part of each entry during which its staff member also worked for another patient.

    Entries of every program, role and activity make a clash; two entries for the same patient do not.

    Args:
        entries: All accepted time entries of a set of staff members, complete for each of them.

    Returns:
        entry_id, started_at, ended_at; the stretches of one entry are disjoint.

    Source: CONTRACT §4; OIG's measure of staff who bill two patients at the same instant.
    """
    worked = entries.select("staff_id", "patient_id", "entry_id", START, END)
    # Few staff members ever clash: only their entries are compared with the stretches found.
    stretches = shared(worked, ["staff_id"], "patient_id")
    return Clashes.validate(intersect(worked, stretches, ["staff_id"]).select("entry_id", START, END))
