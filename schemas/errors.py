"""Errors: what stops a command, said in one plain sentence.

Raised by the tasks, caught by the console, which turns each into its exit code. A bad row, file or
response is not an error but a value (see `schemas.quarantine`), and patient data never appears in one.
"""


class Refused(Exception):
    """The call or its input is wrong: nothing was done, and running it again unchanged will not help."""


class ControlBreak(Exception):
    """Two control totals that must agree do not: the run stops before anything leaves."""

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(
            f"The control totals do not chain: {what} should be {expected} and is {found}. "
            "Nothing was delivered; run the month again, and keep this message if it happens twice."
        )


def require_equal(what: str, expected: object, found: object) -> None:
    """Stop the run unless two control totals agree.

    Raises:
        ControlBreak: If they differ.
    """
    if expected != found:
        raise ControlBreak(what, expected, found)


class OutsideFailed(Exception):
    """Storage, a mailbox or the ledger's database could not do its part; the text says what to do."""


class StepFailed(Exception):
    """A step broke in a way nobody foresaw; its text names the step and the place, never the data."""

    def __init__(self, step: str, kind: str, place: str, is_transient: bool) -> None:
        super().__init__(
            f"The step {step} failed with {kind} at {place}. Nothing is lost: "
            "run the same command again, or `rpmclaims retry` to repeat only what failed."
        )
        self.is_transient = is_transient
