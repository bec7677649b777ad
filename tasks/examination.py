"""Examination: whether what this machine is set up for is there and answers, each with what to do if not.

The command `doctor` asks. It looks at the outside through the very modules the runs use, reads, and leaves
nothing behind; it never shows a secret. How the work stands is told by `tasks.watching`.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from secrets import token_hex
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen
from zoneinfo import available_timezones

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from packaging.requirements import Requirement

from billing.reference import tables
from schemas.errors import OutsideFailed, Refused
from schemas.operations import Check
from schemas.settings import Settings, SettingsError, load_settings
from tasks.database import connect, exists, migrations, reading
from tasks.exchange import mailbox_at
from tasks.schedules import api_url
from tasks.storage import storage_at

FREE_BYTES_AT_LEAST: Final = 2 * 2**30  # the frames between the steps of a large month
CLOCKS_DIFFER_BY: Final = timedelta(minutes=2)  # S3 refuses requests from fifteen minutes on
ANSWER_SECONDS: Final = 5
NEXT_SCHEDULE_FROM: Final = 12  # CMS publishes the next year's rates in November


def examine() -> list[Check]:
    """Look at everything that runs need, one after the other; one that fails keeps no other from its turn."""
    try:
        settings = load_settings()
    except SettingsError as wrong:
        return [_failed("settings", str(wrong), "Correct it in the environment or in .env; then ask again.")]
    checks: list[Check] = []
    for name, look, fix in _looks():
        try:
            checks += look(settings)
        except (OutsideFailed, Refused) as failure:
            checks.append(_failed(name, str(failure), fix))
        except Exception as failure:  # noqa: BLE001  its text may quote a secret; the other looks go on
            checks.append(_failed(name, f"looking at it failed with {type(failure).__name__}", fix))
    return checks


def _looks() -> Iterable[tuple[str, Callable[[Settings], Iterator[Check]], str]]:
    """Name what is looked at, and the way out where it cannot be looked at at all."""
    return (
        ("settings", _settings, "Correct the settings; `rpmclaims settings` shows them."),
        ("programs", _programs, "Install the versions of requirements.lock again: `make`."),
        ("disk", _disk, "Point RPMCLAIMS_HOME at a folder that this user may write to."),
        (
            "ledger",
            _ledger,
            "Start the database or correct RPMCLAIMS_LEDGER_URL; nothing runs without it.",
        ),
        ("clock", _clock, "Let the machine keep time by NTP."),
        ("source", _source, "Correct RPMCLAIMS_SOURCE or the credentials."),
        ("output", _output, "Correct RPMCLAIMS_OUTPUT, or ask for the right to write and delete there."),
        ("outbox", _outbox, "Correct RPMCLAIMS_OUTBOX or what logs in to it; no file can be delivered."),
        ("inbox", _inbox, "Correct RPMCLAIMS_INBOX or what logs in to it; no answer can be collected."),
        ("reference tables", _reference, "Load the CMS release: `rpmclaims reference load`."),
        ("prefect", _prefect, "Start the server (`make serve`) or unset PREFECT_API_URL."),
    )


def _settings(settings: Settings) -> Iterator[Check]:
    if settings.zone in available_timezones():
        yield _ok("settings", f"{len(settings.shown())} in force, zone {settings.zone}")
    else:
        fix = "Set RPMCLAIMS_ZONE to a name such as America/New_York."
        yield _failed("settings", f"RPMCLAIMS_ZONE is {settings.zone!r}, which is no time zone", fix)
    for name in ("sftp_password_file", "sftp_key_file"):
        file: Path | None = getattr(settings, name)
        if file is None:
            continue
        setting = f"RPMCLAIMS_{name.upper()}"
        if not os.access(file, os.R_OK):
            yield _failed(setting, f"{file} cannot be read", "Put it there, readable for this user alone.")
        elif file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield _warning(setting, f"others may read {file}", f"Keep it to this user: `chmod 600 {file}`.")
        else:
            yield _ok(setting, f"{file} is there, for this user alone")


def _programs(_: Settings) -> Iterator[Check]:
    """Compare with what the project pins: a wrong pair of Prefect and FastAPI fails only at run time."""
    wanted = [Requirement(text) for text in requires("rpm-claims") or [] if "extra ==" not in text]
    found = {one.name: _version(one.name) for one in wanted}
    wrong = [
        f"{one.name} {found[one.name] or 'missing'} instead of {one.specifier}"
        for one in wanted
        if not found[one.name] or not one.specifier.contains(found[one.name], prereleases=True)
    ]
    if wrong:
        yield _failed(
            "programs", ", ".join(wrong), "Install the versions of requirements.lock again: `make`."
        )
    else:
        yield _ok("programs", f"{len(wanted)} libraries as pinned, Prefect {version('prefect')}")


def _version(library: str) -> str:
    """Give the version that is installed; empty if it is not."""
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _disk(settings: Settings) -> Iterator[Check]:
    home = settings.home.resolve()
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        fix = "Point RPMCLAIMS_HOME at a folder that this user may write to."
        yield _failed("disk", f"this user may not write to {there}", fix)
        return
    free = shutil.disk_usage(there).free
    found = f"{free / 2**30:,.1f} GiB free at {home}"
    if free < FREE_BYTES_AT_LEAST:
        fix = f"Make room, or move RPMCLAIMS_HOME: keep {FREE_BYTES_AT_LEAST // 2**30} GiB free."
        yield _warning("disk", found, fix)
    else:
        yield _ok("disk", found)


def _ledger(settings: Settings) -> Iterator[Check]:
    where = sa.make_url(settings.ledger_url).render_as_string(hide_password=True)
    if not exists(settings.ledger_url):
        yield _unset("ledger", f"{where} is not there yet; the first run makes it")
        return
    engine = connect(settings.ledger_url)
    try:
        with reading(engine) as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            script = ScriptDirectory.from_config(migrations(connection))
            newest = script.get_current_head()
            known = {revision.revision for revision in script.walk_revisions()}
    finally:
        engine.dispose()
    if current == newest:
        yield _ok("ledger", f"{where} answers, schema {current}")
    elif current is None or current in known:
        fix = "Nothing to do: the next run brings it up to date. Take a backup first."
        yield _warning("ledger", f"{where} answers, schema {current or 'empty'} of {newest}", fix)
    else:
        fix = "Install the release that made it; an older program must not write to it."
        yield _failed("ledger", f"{where} has schema {current}, which this program does not know", fix)


def _clock(settings: Settings) -> Iterator[Check]:
    if settings.now is not None:
        fix = "Unset RPMCLAIMS_NOW, which is for demonstrations and tests."
        yield _warning("clock", f"it is stopped at {settings.now.isoformat()}", fix)
    others = [*_time_of_ledger(settings), *_time_of_storage(settings)]
    if not others and settings.now is None:
        yield _unset("clock", "neither a database server nor an S3 server to compare it with")
    for name, difference in others:
        found = f"{abs(difference.total_seconds()):.0f} s from {name}"
        if abs(difference) > CLOCKS_DIFFER_BY:
            yield _failed(
                "clock", found, "Let the machine keep time by NTP; signatures and dates depend on it."
            )
        else:
            yield _ok("clock", found)


def _time_of_ledger(settings: Settings) -> Iterator[tuple[str, timedelta]]:
    if sa.make_url(settings.ledger_url).get_backend_name() != "postgresql":
        return
    engine = connect(settings.ledger_url)
    try:
        with reading(engine) as connection:
            theirs = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            yield "the ledger's server", datetime.now(UTC) - theirs
    except OutsideFailed:
        return  # told by the look at the ledger
    finally:
        engine.dispose()


def _time_of_storage(settings: Settings) -> Iterator[tuple[str, timedelta]]:
    """Ask the S3 server for the time: it says it even to a stranger."""
    if not any(str(uri).startswith("s3://") for uri in (settings.source, settings.output)):
        return
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    try:
        answer = urlopen(endpoint or "https://s3.amazonaws.com", timeout=ANSWER_SECONDS)  # noqa: S310
        said = answer.headers.get("Date")
    except URLError as refusal:
        said = getattr(refusal, "headers", {}).get("Date")
    except OSError:
        said = None  # told by the look at the source
    if said:
        yield "the S3 server", datetime.now(UTC) - parsedate_to_datetime(said)


def _source(settings: Settings) -> Iterator[Check]:
    if settings.source is None:
        yield _unset("source", "RPMCLAIMS_SOURCE is not set; schedules need it")
        return
    storage = storage_at(settings.source)
    found = len(storage.list("patients/"))
    if found:
        yield _ok("source", f"{storage.uri} answers")
    else:
        fix = "Let the upstream export run, or correct RPMCLAIMS_SOURCE."
        yield _warning("source", f"{storage.uri} answers, and has no patients/", fix)


def _output(settings: Settings) -> Iterator[Check]:
    if settings.output is None:
        yield _unset("output", "RPMCLAIMS_OUTPUT is not set; schedules need it")
        return
    storage = storage_at(settings.output)
    probe = f".doctor-{token_hex(4)}"
    storage.write(probe, b"")
    storage.delete(probe)
    yield _ok("output", f"{storage.uri} takes files")


def _outbox(settings: Settings) -> Iterator[Check]:
    yield _mailbox("outbox", settings.outbox)


def _inbox(settings: Settings) -> Iterator[Check]:
    yield _mailbox("inbox", settings.inbox)


def _mailbox(name: str, uri: str | None) -> Check:
    if uri is None:
        return _unset(name, f"RPMCLAIMS_{name.upper()} is not set")
    mailbox = mailbox_at(uri)
    return _ok(name, f"{mailbox.uri} answers, {len(mailbox.list(quiet_seconds=0))} files in it")


def _reference(settings: Settings) -> Iterator[Check]:
    loaded = tables.load(settings.home / "reference")
    today = settings.clock().date()
    lacking = [
        day.year
        for day in {
            today.replace(month=1, day=1),
            (today.replace(day=1) - timedelta(days=1)).replace(month=1, day=1),
        }
        if any(tables.in_effect(getattr(loaded, name), day).is_empty() for name in tables.FEE_SCHEDULE)
    ]
    if lacking:
        fix = "Load CMS's release: `rpmclaims reference load --rvu … --gpci … --year …`."
        years = ", ".join(map(str, sorted(lacking)))
        yield _failed("reference tables", f"no physician fee schedule for {years}", fix)
        return
    rates = tables.in_effect(loaded.rvus, today)
    yield _ok("reference tables", f"fee schedule of {today.year} in force: {rates.height} codes")
    next_year = today.replace(year=today.year + 1, month=1, day=1)
    if today.month >= NEXT_SCHEDULE_FROM and tables.in_effect(loaded.rvus, next_year).is_empty():
        fix = f"Load it before January's month-end: `rpmclaims reference load … --year {next_year.year}`."
        yield _warning("reference tables", f"no physician fee schedule for {next_year.year} yet", fix)


def _prefect(_: Settings) -> Iterator[Check]:
    url = api_url()
    if url is None:
        yield _unset(
            "prefect", "PREFECT_API_URL is not set: runs start a server of their own, schedules need one"
        )
        return
    try:
        with urlopen(f"{url}/health", timeout=ANSWER_SECONDS):  # noqa: S310
            yield _ok("prefect", f"the server at {url} answers")
    except OSError:
        fix = "Start the server (`make serve`) or unset PREFECT_API_URL."
        yield _failed("prefect", f"the server at {url} does not answer", fix)


def _ok(name: str, found: str) -> Check:
    return Check(name=name, state="ok", found=found)


def _unset(name: str, found: str) -> Check:
    return Check(name=name, state="unset", found=found)


def _warning(name: str, found: str, fix: str) -> Check:
    return Check(name=name, state="warning", found=found, fix=fix)


def _failed(name: str, found: str, fix: str) -> Check:
    return Check(name=name, state="failed", found=found, fix=fix)
