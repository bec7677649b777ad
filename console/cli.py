"""The command line: every command of the contract, its exit code, and one plain sentence when it refuses.

Commands read their arguments, start a flow or ask a rule, and print. Heavy imports wait until a command
needs them. What the web shows belongs to `console.web`, what is true to `billing` and the ledger.
"""

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from console import commands_answers, commands_money, commands_ops, commands_status
from schemas.errors import ControlBreak, OutsideFailed, Refused, StepFailed
from schemas.settings import SettingsError, load_settings

DONE, FAILED, WRONG, LOOK = 0, 1, 2, 3
INTERRUPTED = 128 + signal.SIGINT  # what Typer makes of Ctrl-C; it is no exit code of ours
PATIENCE = 5.0  # seconds that a command which is stopped may take to leave
STOPPED = "Stopped. Nothing is lost: run the same command again."
# How Prefect is told to write its lines and ours as JSON: with the formatter of `tasks.telemetry`.
JSON_LOGS = {
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "tasks.telemetry.JsonLines",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_COLORS": "false",
}
# Nobody listens for the heartbeat of a run that brings its own server, and its end would cost a second.
ALONE = {"PREFECT_FLOWS": '{"heartbeat_frequency": null}'}
# Typer brings its own Click and does not name the base of its usage errors.
UsageProblem: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="rpmclaims",
    help="Bill Medicare Remote Patient Monitoring: time to units to money to X12 to reconciliation.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Month = Annotated[str, typer.Option(help="The service month, such as 2026-10.")]
Output = Annotated[str, typer.Option(help="Where the month's files go: s3://bucket/prefix or a folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]


def say(sentence: str) -> None:
    """Tell a person something; results go to stdout, everything else here."""
    typer.echo(sentence, err=True)


def show_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def prepare_prefect() -> None:
    """Point Prefect at its own home inside ours and keep it off the network, before it is imported."""
    settings = load_settings()
    home = settings.home.resolve() / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    for name, value in {
        **(JSON_LOGS if settings.log_format == "json" else _quiet()),
        **({} if os.environ.get("PREFECT_API_URL") else ALONE),
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        # What the steps tell is kept beside the run.
        "PREFECT_LOGGING_EXTRA_LOGGERS": "rpmclaims",
        # A new, empty database on the first run of a home: 60 s is generous even on a busy machine.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }.items():
        os.environ.setdefault(name, value)


def _quiet() -> dict[str, str]:
    """Let people read what the steps tell, and not Prefect's tracebacks: a refusal is one sentence."""
    progress = logging.getLogger("rpmclaims")
    if not progress.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        progress.addHandler(handler)
    progress.propagate = False
    return {} if os.environ.get("RPMCLAIMS_DEBUG") else {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}


@app.command("month-end")
def month_end(
    month: Month,
    source: Annotated[str, typer.Option(help="Where the month's data lies: s3://bucket/prefix or a folder.")],
    output: Output,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be claimed; write nothing.")
    ] = False,
    full_check: Annotated[
        bool, typer.Option("--full-check", help="Let pyx12 read every claim, not one of every shape.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bill one month: claims, holds, quarantine and a report."""
    prepare_prefect()
    from console.pages import show_month
    from flows.month_end import month_end as flow

    summary = flow(month=month, source=source, output=output, dry_run=dry_run, full_check=full_check)
    if as_json:
        show_json(summary.model_dump(mode="json"))
    else:
        show_month(summary)
    raise typer.Exit(LOOK if summary.needs_people else DONE)


@app.command()
def rates(
    month: Month,
    code: Annotated[str | None, typer.Option(help="Only this code, such as 99457.")] = None,
    mac: Annotated[str | None, typer.Option(help="Only this contractor: J5, JH, 04412 or a name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what Medicare should allow and pay, locality by locality."""
    from billing.pricing import rates as priced
    from console.pages import show_rates

    rows = priced(_reference(), _first_day(month), code=code, mac=mac)
    if as_json:
        show_json(rows.with_columns(_decimals_as_text()).to_dicts())
    else:
        show_rates(rows, month)


@app.command("check-x12")
def check_x12(
    file: Annotated[Path, typer.Argument(help="Any 837P, 835, 999, 277CA or TA1 file.")],
    as_json: AsJson = False,
) -> None:
    """Check any X12 file: what is wrong, where, and how to mend it."""
    from console.pages import show_findings
    from edi.check import check_document

    findings = check_document(_bytes_of(file))
    if as_json:
        show_json({"file": file.name, "findings": findings.to_dicts()})
    else:
        show_findings(file.name, findings)
    severities = findings["severity"].to_list()
    is_x12 = "not_x12" not in findings["rule"].to_list()
    raise typer.Exit(WRONG if not is_x12 else LOOK if "error" in severities else DONE)


@app.command("read-x12")
def read_x12(
    file: Annotated[Path, typer.Argument(help="Any TA1, 999, 277CA or 835 file.")],
    as_json: AsJson = False,
    parquet: Annotated[
        Path | None, typer.Option(help="Write one Parquet file per table into this folder.")
    ] = None,
) -> None:
    """Show any response file as tables."""
    from console.commands_answers import show_reading
    from edi import reader

    data = _bytes_of(file)
    if parquet is not None:
        raise typer.Exit(reader.exit_code(reader.write_tables(file, parquet)))
    reading = reader.read_x12(data, file.name)
    if as_json:
        show_json(reading.to_json())
    else:
        show_reading(reading.to_json())
    raise typer.Exit(reading.exit_code)


reference = typer.Typer(
    help="The fee schedules in force, and how to load a new release.", no_args_is_help=True
)
app.add_typer(reference, name="reference")


@reference.command("load")
def load_reference(
    rvu: Annotated[Path, typer.Option(help="CMS's PPRRVU file (.csv).")],
    gpci: Annotated[Path, typer.Option(help="CMS's GPCI file (.csv).")],
    year: Annotated[int, typer.Option(help="The year both are for.")],
    rvu_apm: Annotated[
        Path | None, typer.Option(help="CMS's PPRRVU file for qualifying APM participants.")
    ] = None,
) -> None:
    """Load a CMS release; it is in force for its year from then on."""
    from billing.reference.releases import BadRelease, read_release, store_release

    try:
        release = read_release(rvu, gpci, year, rvu_apm)
    except BadRelease as refusal:
        raise Refused(str(refusal)) from None
    stored = store_release(release, _overlay())
    say(f"The {year} physician fee schedule is loaded: {stored.name}.")


@app.command()
def settings(as_json: AsJson = False) -> None:
    """Show the settings in force, without secrets."""
    shown = load_settings().shown()
    if as_json:
        show_json(shown)
    else:
        for name, value in shown.items():
            typer.echo(f"{name}={value}")


def _overlay() -> Path:
    return load_settings().home / "reference"


def _reference() -> Any:
    from billing.reference.tables import load

    return load(_overlay())


def _first_day(month: str) -> Any:
    from datetime import date

    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        raise Refused(f"A month is written like 2026-10; {month!r} is not one.") from None


def _decimals_as_text() -> Any:
    import polars as pl

    return pl.selectors.decimal().cast(pl.String)


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise Refused(f"{file} cannot be read: {problem.strerror}.") from None


commands_answers.add_commands(app)
commands_money.add_commands(app)
commands_ops.add_commands(app)
commands_status.add_commands(app)


def main() -> None:
    """Run the command of this process and leave with its exit code."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _stop)
    raise SystemExit(run(sys.argv[1:]))


def _stop(_signal: int, _frame: object) -> None:
    """End the command where it is; any step may break off, so whoever asks twice is heard at once.

    Ctrl-C reaches Prefect's own server too, and Prefect would then try for minutes to tell it so.
    """
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, lambda *_: os._exit(FAILED))
    logging.disable()
    say(STOPPED)
    leave = threading.Timer(PATIENCE, os._exit, [FAILED])
    leave.daemon = True
    leave.start()
    raise KeyboardInterrupt


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; a refusal is one sentence on stderr.

    Whoever asked for JSON gets the sentence as a document on stdout too.
    """
    try:
        outcome = app(arguments, standalone_mode=False)
    except typer.Exit as ending:
        return int(ending.exit_code)
    except Exception as ending:  # noqa: BLE001  the last line of defence: one sentence, never a traceback
        code, sentence = _explained(ending)
        say(sentence)
        if "--json" in arguments:
            show_json({"error": sentence, "exit_code": code})
        return code
    if outcome == INTERRUPTED:
        return FAILED
    return outcome if isinstance(outcome, int) else DONE


def _explained(ending: Exception) -> tuple[int, str]:
    """Give the contract's exit code for a command that ended early, and say why it did."""
    if isinstance(ending, UsageProblem):
        told = str(ending.format_message())
        # A command group that is called bare tells its help.
        is_help = told.startswith("Usage: ")
        return WRONG, told if is_help else f"{told.rstrip('.')}. See `{ending.ctx.command_path} --help`."
    if isinstance(ending, Refused | SettingsError | LookupError):
        return WRONG, str(ending.args[0])
    if isinstance(ending, ControlBreak | OutsideFailed | StepFailed):
        return FAILED, str(ending)
    if isinstance(ending, typer.Abort):
        return FAILED, STOPPED
    if os.environ.get("RPMCLAIMS_DEBUG"):
        raise ending
    # Its own text may quote data, so it is not repeated.
    return FAILED, (
        f"Failed with {type(ending).__name__}; nothing is lost, and it is safe to run this again. "
        "RPMCLAIMS_DEBUG=1 shows where it happened."
    )


if __name__ == "__main__":
    main()
