"""The judgement: pure rules, frames to frames; the outside world is not reachable from here."""
