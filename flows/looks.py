"""Looks: what a person may ask between two runs. They are no flows: each only looks and tells."""

from tasks.examination import examine
from tasks.watching import measure

__all__ = ["examine", "measure"]
