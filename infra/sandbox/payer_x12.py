"""The payer's X12: envelopes and amounts of everything the sandbox payer sends.

`infra.sandbox.payer_acknowledgements` and `infra.sandbox.payer_remittances` write segments as text; this
module wraps them. It is a small writer of its own, so that our readers meet files they did not write.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

_DELIMITERS: Final = str.maketrans(dict.fromkeys("*:^~", " "))


@dataclass(frozen=True)
class Sender:
    """Who answers whom: the two ends of the claims' envelope, turned round."""

    sender_id: str
    receiver_id: str
    usage: str


def segment(*elements: object) -> str:
    """Write a segment; empty elements at its end are left out."""
    return "*".join(str(element) for element in elements).rstrip("*") + "~"


def segment_if(is_sent: object, *elements: object) -> list[str]:
    """Write a segment that is only sent when there is something to say."""
    return [segment(*elements)] if is_sent else []


def text(value: str | None) -> str:
    """Make a text of somebody else's safe as an element."""
    return (value or "").translate(_DELIMITERS).strip()


def amount(value: Decimal) -> str:
    """Write an amount without zeros at its end."""
    return f"{value.normalize():f}" if value else "0"


def interchange(
    between: Sender, control_number: int, at: datetime, kind: str, version: str, sets: Sequence[Sequence[str]]
) -> bytes:
    """Wrap transaction sets: each begins with its ST and gets its SE here.

    Args:
        between: Who answers whom.
        control_number: ISA13 and GS06.
        at: When it is written.
        kind: GS01.
        version: GS08.
        sets: The segments of each transaction set.
    """
    bodies = []
    for number, segments in enumerate(sets, 1):
        bodies += [*segments, segment("SE", len(segments) + 1, f"{number:04}")]
    group = segment(
        "GS",
        kind,
        between.sender_id,
        between.receiver_id,
        f"{at:%Y%m%d}",
        f"{at:%H%M}",
        control_number,
        "X",
        version,
    )
    end = segment("GE", len(sets), control_number)
    return (
        header(between, control_number, at) + group + "".join(bodies) + end + trailer(control_number, 1)
    ).encode("ascii", "replace")


def header(between: Sender, control_number: int, at: datetime) -> str:
    """Write an ISA."""
    return (
        f"ISA*00*{'':10}*00*{'':10}*ZZ*{between.sender_id:15}*ZZ*{between.receiver_id:15}"
        f"*{at:%y%m%d}*{at:%H%M}*^*00501*{control_number:09}*0*{between.usage}*:~"
    )


def trailer(control_number: int, groups: int) -> str:
    """Write an IEA."""
    return segment("IEA", groups, f"{control_number:09}")
