"""Reference: the dated tables in force here, our own and the releases that people loaded.

Steps that judge or price ask here; the tables themselves are `billing.reference`.
"""

from billing.reference import tables
from schemas.settings import load_settings


def reference() -> tables.Reference:
    """Load the tables; they are read once a process."""
    return tables.load(load_settings().home / "reference")
