"""Lone runs: a flow in a process of its own, which a test may kill, starve or race against another.

The process runs the flow's own function with every step as the plain function it is made of, so that a
hundred of them need no hundred Prefect servers; what Prefect adds is tried by a few runs of the real
command. The processes are forked from one that has imported the product and done nothing else.
"""

import multiprocessing
import os
import resource
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tests.acceptance.afterwards import assert_sound, files_in, ledger_of

MONTH: Final = "2026-10"
NOW: Final = "2026-11-23T12:00:00+00:00"
KILLED: Final = -9
PATIENCE: Final = 180  # seconds for a run that takes two when the machine is idle
# Imported once, before the fork: the product, and what it imports late.
PRELOADED: Final = (
    "flows.month_end",
    "flows.submission",
    "flows.collection",
    "flows.nightly",
    "tasks.storage_s3",
    "pyx12.x12n_document",
    "alembic.command",
)

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(list(PRELOADED))


@dataclass(frozen=True)
class Ending:
    """How a run ended: its exit code, and what kind of failure in which words if it failed by itself."""

    exit_code: int
    kind: str = ""
    sentence: str = ""

    @property
    def is_killed(self) -> bool:
        """Tell whether the power failed."""
        return self.exit_code == KILLED

    @property
    def is_done(self) -> bool:
        """Tell whether the run came to its end."""
        return self.exit_code == 0


@dataclass(frozen=True)
class Running:
    """A run under way."""

    process: BaseProcess
    told: Connection

    def ending(self) -> Ending:
        """Wait for its end."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, "the run hangs"
        try:
            kind, sentence = self.told.recv()
        except EOFError:
            kind, sentence = "", ""
        return Ending(self.process.exitcode, kind, sentence)


@dataclass(frozen=True)
class Practice:
    """A practice in a folder of its own, with its ledger, output, outbox and inbox, and the flows it runs."""

    folder: Path
    source: str
    ledger_url: str
    environment: Mapping[str, str] = field(default_factory=dict)
    output: str = "output"
    outbox: str = "outbox"

    @property
    def month(self) -> Path:
        """Where the month's files are."""
        return self.folder / self.output / MONTH

    @property
    def delivered(self) -> Path:
        """The outbox."""
        return self.folder / self.outbox

    def outputs(self) -> dict[str, bytes]:
        """Read every file of the month."""
        return files_in(self.month)

    def ledger(self) -> dict[str, Counter[str]]:
        """Read the ledger so that it compares."""
        return ledger_of(self.ledger_url, self.folder)

    def assert_sound(self) -> None:
        """Hold ledger, files and deliveries against each other."""
        assert_sound(self.ledger_url, self.month, self.delivered)

    def run(
        self, flow: str, crash_at: str = "", *, bytes_per_file: int | None = None, **settings: str
    ) -> Ending:
        """Run a flow to its end, whichever it is; see `started`."""
        with self.started(flow, crash_at, bytes_per_file=bytes_per_file, **settings) as running:
            return running.ending()

    @contextmanager
    def started(
        self, flow: str, crash_at: str = "", *, bytes_per_file: int | None = None, **settings: str
    ) -> Iterator[Running]:
        """Start a flow and let the block do what it likes meanwhile.

        Args:
            crash_at: The crash point at which the process dies.
            bytes_per_file: The most that any file may hold, as on a full disk.
            settings: Environment of this run alone.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = {
            "month_end": (MONTH, self.source, self.output),
            "submission": (MONTH, self.output, self.outbox),
            "collection": (self.output, "inbox"),
            "nightly": (),
        }[flow]
        environment = {
            "RPMCLAIMS_HOME": "home",
            "RPMCLAIMS_NOW": NOW,
            "RPMCLAIMS_PATIENTS_PER_BUCKET": "7",
            "POLARS_MAX_THREADS": "1",  # a dozen patients are not worth the threads
            "RPMCLAIMS_LEDGER_URL": self.ledger_url,
            "RPMCLAIMS_CRASH_AT": crash_at,
            **self.environment,
            **settings,
        }
        told, tells = _CONTEXT.Pipe(duplex=False)
        life = (flow, arguments, environment, str(self.folder), bytes_per_file, tells)
        process = _CONTEXT.Process(target=_live, args=life)
        process.start()
        tells.close()
        try:
            yield Running(process, told)
        finally:
            process.kill()
            process.join()
            process.close()
            told.close()


def _live(
    flow: str,
    arguments: Iterable[Any],
    environment: Mapping[str, str],
    folder: str,
    bytes_per_file: int | None,
    tells: Connection,
) -> None:
    """Be the process: run the flow and tell how it ended, if there is time to."""
    for name in list(os.environ):
        if name.startswith(("RPMCLAIMS_", "AWS_")):
            del os.environ[name]
    os.environ.update(environment, PREFECT__FLOW_RUN_ID=f"lone-{os.getpid()}-{os.urandom(4).hex()}")
    os.chdir(folder)
    if bytes_per_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_per_file, bytes_per_file))
    module = import_module(f"flows.{flow}")
    _take_prefect_away(module)
    try:
        getattr(module, flow).fn(*arguments)
    except Exception as failure:  # noqa: BLE001  told to the test
        tells.send((type(failure).__name__, str(failure)))
        os._exit(1)
    os._exit(0)


def _take_prefect_away(flow: ModuleType) -> None:
    """Let every step of a flow be the plain function it is made of."""
    from prefect.tasks import Task

    for module in (flow, *(used for used in vars(flow).values() if isinstance(used, ModuleType))):
        for name, found in list(vars(module).items()):
            if isinstance(found, Task):
                setattr(module, name, found.fn)
    flow.every = _one_after_the_other  # type: ignore[attr-defined]


def _one_after_the_other(step: Any, shards: Iterable[object], *shared: Any) -> list[Any]:
    """Do what `flows.story.every` does, in this thread."""
    return [step(shard, *shared) for shard in shards]
