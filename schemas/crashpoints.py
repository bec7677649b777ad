"""Crash points: the places where a test lets the power fail, by name.

One line marks each boundary at which a run may die with something done and not yet remembered; the tests in
`tests/acceptance` kill a real process at every one of them and run the month again. They do nothing unless
`RPMCLAIMS_CRASH_AT` names one. What must hold afterwards is not known here.
"""

import os
import signal
from typing import Final

CRASH_AT: Final = "RPMCLAIMS_CRASH_AT"


def crashpoint(name: str) -> None:
    """Die here without a word if this is the place that was asked for; nothing is cleaned up."""
    if os.environ.get(CRASH_AT) == name:
        os.kill(os.getpid(), signal.SIGKILL)
