"""Decisions: what a person may decide between two runs; no flows, each is one write to the ledger."""

from tasks.approvals import approve
from tasks.operations import correct, resend
from tasks.releases import release
from tasks.submitting import deliver_anew

__all__ = ["approve", "correct", "deliver_anew", "release", "resend"]
