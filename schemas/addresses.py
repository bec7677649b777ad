"""Addresses: the small records that tasks exchange in place of data.

`tasks.intake` makes pins and manifests, every task returns addresses; all of them are plain JSON.
No frame and no patient data belongs here: these records are seen in Prefect.
"""

from datetime import date

from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pin(_Frozen):
    """One source object as it was when the run listed it.

    `version` is its ETag on S3, its size and time of change in a folder. `sha256` is unknown (None) until
    the object is first read; `tasks.intake.read_object` says it with every part.
    """

    dataset: str
    key: str
    uri: str
    version: str
    size: int
    sha256: str | None = None


class Ignored(_Frozen):
    """An object in a source folder that the run does not read, and why."""

    key: str
    reason: str


class Manifest(_Frozen):
    """Everything one month's run reads, frozen before the first byte is read."""

    source: str
    month: date
    pins: tuple[Pin, ...]
    ignored: tuple[Ignored, ...] = ()

    def of(self, dataset: str) -> tuple[Pin, ...]:
        """Give the pins of one dataset, in the order of their keys."""
        return tuple(pin for pin in self.pins if pin.dataset == dataset)


class Address(_Frozen):
    """Where a frame or a file lies, what its bytes hash to, and how many rows it holds."""

    uri: str
    sha256: str
    rows: int
