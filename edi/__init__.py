"""The language: X12 and nothing of ours, so that it can be lifted out and reused."""
