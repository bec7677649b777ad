"""Decisions: what a person may decide between two runs. They are no flows: each is one write to the ledger."""

from tasks.operations import approve, correct, resend
from tasks.releases import release

__all__ = ["approve", "correct", "release", "resend"]
