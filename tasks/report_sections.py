"""Report sections: what the month's page says, part by part, each with its chart and its table.

`tasks.report` puts them in order, `tasks.page` knows how they are written. Nothing is decided or summed
here beyond a share of a total.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from schemas.addresses import Manifest
from schemas.outputs import Funnel, HoldTotals
from schemas.shards import FiledInterchange
from tasks.page import NOTHING, Bar, Chart, Columns, Section, bars, count_of, share_of, table

# A month may pin thousands of objects; the ledger keeps them all.
OBJECTS_SHOWN: Final = 100


def patients(funnel: Funnel) -> Section:
    """Tell how many patients come through, step by step."""
    steps = [
        ("Enrolled", funnel["patients_enrolled"], "on at least one day of the month"),
        ("With RPM time", funnel["patients_with_time"], "logged in the month"),
        ("Eligible", funnel["patients_eligible"], "at most time or a live talk is missing"),
        ("Billed", funnel["patients_billed"], "on a claim"),
    ]
    before = (None, *(count for _, count, _ in steps))
    rows = [
        {"step": name, "patients": count, "share": share_of(count, previous), "who": who}
        for (name, count, who), previous in zip(steps, before, strict=False)
    ]
    columns: Columns = (
        ("Step", "step", "text"),
        ("Patients", "patients", "count"),
        ("Of step before", "share", "share"),
        ("Who", "who", "text"),
    )
    lead = (
        f"{count_of(funnel['patients_enrolled'])} patients were enrolled,"
        f" {count_of(funnel['patients_billed'])} are billed and {count_of(funnel['patients_held'])} are held."
    )
    title = "Patients at each step"
    chart = bars(title, rows, "step", "patients")
    return Section("From enrolled to billed", lead, [chart], [table(title, columns, rows)])


def minutes(funnel: Funnel) -> Section:
    """Tell where the logged minutes went."""
    logged = funnel["logged_seconds"]
    parts = [
        ("Billed", funnel["billed_seconds"], "they fund a unit"),
        ("Stranded", funnel["stranded_seconds"], "they count, but fund no billed unit"),
        ("Over the cap", funnel["over_cap_seconds"], "whole units above the month's limit"),
        ("Not counted", logged - funnel["counted_seconds"], "logged, but may not count"),
    ]
    rows = [
        {"part": name, "minutes": seconds / 60, "share": share_of(seconds, logged), "why": why}
        for name, seconds, why in parts
    ]
    columns: Columns = (
        ("Part", "part", "text"),
        ("Minutes", "minutes", "minutes"),
        ("Of all logged", "share", "share"),
        ("Why", "why", "text"),
    )
    lead = (
        f"{count_of(funnel['minutes_logged'])} minutes were logged, {count_of(funnel['minutes_counted'])}"
        f" of them count and {count_of(funnel['minutes_billed'])} are billed."
    )
    chart = bars("Minutes logged", rows, "part", "minutes")
    return Section("Where the minutes went", lead, [chart], [table("Minutes logged", columns, rows)])


def ladder(funnel: Funnel) -> Section:
    """Tell how patients spread over the steps of the time ladder."""
    columns: Columns = (
        ("Counted minutes", "band", "text"),
        ("Patients", "patients", "count"),
        ("Billed", "patients_billed", "count"),
        ("Not billed", "not_billed", "count"),
        ("Stranded minutes", "stranded_minutes", "minutes"),
    )
    rows, columns_of_patients = [], []
    for band in funnel["minutes_distribution"]:
        name = _band(band["minutes_from"], band["minutes_to"])
        billed, not_billed = band["patients_billed"], band["patients"] - band["patients_billed"]
        rows.append({**band, "band": name, "not_billed": not_billed})
        columns_of_patients.append(Bar(name, [billed, not_billed], count_of(band["patients"])))
    title = "Patients by counted minutes"
    stranded = count_of(funnel["minutes_stranded"])
    lead = f"A unit needs its minutes in full: {stranded} counted minutes fund no billed unit."
    chart = Chart(title, columns_of_patients, "columns", ("Billed", "Not billed"))
    return Section("How far the minutes reach", lead, [chart], [table(title, columns, rows)])


def contractors(funnel: Funnel) -> Section:
    """Tell the money of each Medicare contractor, the largest first."""
    rows = [
        {**mac, "name": " · ".join(filter(None, (mac["jurisdiction"], mac["mac_name"], mac["mac_contract"])))}
        for mac in sorted(funnel["by_mac"], key=lambda mac: -Decimal(mac["allowed_estimate"]))
    ]
    columns: Columns = (
        ("Contractor", "mac_name", "text"),
        ("Jurisdiction", "jurisdiction", "text"),
        ("Contract", "mac_contract", "code"),
        ("Patients billed", "patients_billed", "count"),
        ("Claims", "claims", "count"),
        ("Charged", "charge", "dollars"),
        ("Allowed", "allowed_estimate", "dollars"),
        ("Medicare", "medicare_estimate", "dollars"),
        ("Patients owe", "patient_estimate", "dollars"),
    )
    title = "Money by Medicare contractor"
    lead = "Estimated from the fee schedule of each practice's locality."
    chart = bars("Allowed, estimated", rows, "name", "allowed_estimate", "dollars")
    return Section(title, lead, [chart], [table(title, columns, rows)], is_wide=True)


def claims(funnel: Funnel) -> Section:
    """Tell what a claim carries, and the money of each code."""
    patterns = sorted(funnel["units_distribution"], key=lambda row: -row["claims"])
    by_pattern: Columns = (
        ("Units and codes", "pattern", "code"),
        ("Claims", "claims", "count"),
        ("Allowed", "allowed_estimate", "dollars"),
    )
    by_code: Columns = (
        ("Code", "code", "code"),
        ("Lines", "lines", "count"),
        ("Units", "units", "count"),
        ("Charged", "charge", "dollars"),
        ("Allowed", "allowed_estimate", "dollars"),
    )
    units, lines = count_of(funnel["units"]), count_of(funnel["lines"])
    return Section(
        "What the claims carry",
        f"{units} units on {lines} lines of {count_of(funnel['claims'])} claims.",
        [bars("Claims by units", patterns, "pattern", "claims")],
        [table("Claims by units", by_pattern, patterns), table("Money by code", by_code, funnel["by_code"])],
    )


def held(funnel: Funnel) -> Section:
    """Tell which reasons keep patients from being billed, and what to do."""
    stops = [hold for hold in funnel["holds"] if not hold["is_note"]]
    lead = "All reasons of a patient are listed, so one patient may be in several. holds.csv says who."
    return _reasons("Held: not billed until someone acts", lead if stops else "Nobody is held.", stops)


def noted(funnel: Funnel) -> Section:
    """Tell which reasons only lower what is billed."""
    notes = [hold for hold in funnel["holds"] if hold["is_note"]]
    lead = "These stop no claim: some time was left out, or something deserves a second look."
    return _reasons("Noted: no reason to wait", lead if notes else "There is nothing to note.", notes)


def supply_left_out(funnel: Funnel) -> Section:
    """Tell which device periods were earned and are on no claim, although their patients are not held."""
    rows = sorted(funnel["supply_left_out"], key=lambda left: -left["periods"])
    columns: Columns = (
        ("Reason", "reason", "code"),
        ("Periods", "periods", "count"),
        ("Next step", "next_step", "text"),
    )
    lead = "Something stands against them on their own dates. supply_left_out.csv says whose they are."
    if not rows:
        lead = "Every device period that was earned is billed, or its patient is held."
    return Section("Device periods left out", lead, tables=[table("Periods by reason", columns, rows)])


def _reasons(title: str, lead: str, holds: Sequence[HoldTotals]) -> Section:
    """Show hold reasons, the most frequent first."""
    ranked = sorted(holds, key=lambda hold: -hold["patients"])
    rows = [{**hold, "words": _words(hold["reason"])} for hold in ranked]
    columns: Columns = (
        ("Reason", "reason", "code"),
        ("Patients", "patients", "count"),
        ("Minutes", "counted_minutes", "minutes"),
        ("Next step", "next_step", "text"),
    )
    shown = "Patients by reason"
    return Section(title, lead, [bars(shown, rows, "words", "patients")], [table(shown, columns, rows)])


def quarantine(funnel: Funnel) -> Section:
    """Tell which rules refused input rows, the most frequent first."""
    rows = [
        {**failed, "what": f"{_words(failed['rule'])} ({failed['dataset']})"}
        for failed in sorted(funnel["quarantine"], key=lambda failed: -failed["rows"])
    ]
    columns: Columns = (("Dataset", "dataset", "text"), ("Rule", "rule", "code"), ("Rows", "rows", "count"))
    lead = "A row is counted for every rule it fails. quarantine.csv says which row, and how to mend it."
    if not rows:
        lead = "Every row that arrived could be used."
    title = "Rows by failed rule"
    return Section(
        "Quarantined rows", lead, [bars(title, rows, "what", "rows")], [table(title, columns, rows)]
    )


def files(filed: Sequence[FiledInterchange]) -> Section:
    """Tell which interchanges the month produced, and what they are known by."""
    rows = [
        {
            **file.model_dump(),
            "number": f"{file.control_number:09d}",
            "charge": Decimal(file.total_cents) / 100,
            "check": f"stopped, errors: {count_of(file.errors)}" if file.errors else "passed",
            "hash": (file.sha256 or "")[:16],
        }
        for file in filed
    ]
    columns: Columns = (
        ("File", "file_name", "code"),
        ("Receiver", "receiver_id", "code"),
        ("Control number", "number", "code"),
        ("Claims", "claim_count", "count"),
        ("Charged", "charge", "dollars"),
        ("Check", "check", "text"),
        ("SHA-256 begins", "hash", "code"),
    )
    lead = "The control number is the interchange header's: what the answers of the payer refer to."
    tables = [table("Interchanges", columns, rows)]
    return Section("837P files", lead if rows else "No file was written.", tables=tables, is_wide=True)


def arrivals(funnel: Funnel) -> Section:
    """Tell what became of every row that arrived."""
    ignored = [
        {"dataset": name, "columns": ", ".join(extra)} for name, extra in funnel["extra_columns"].items()
    ]
    columns: Columns = (
        ("Dataset", "dataset", "text"),
        ("Rows read", "rows_read", "count"),
        ("Accepted", "rows_accepted", "count"),
        ("Quarantined", "rows_quarantined", "count"),
        ("Repeats dropped", "repeats_dropped", "count"),
        ("Left to next run", "rows_elsewhere", "count"),
    )
    unknown: Columns = (("Dataset", "dataset", "text"), ("Columns", "columns", "code"))
    tables = [
        table("Rows by dataset", columns, funnel["sources"]),
        table("Columns nobody asked for, ignored", unknown, ignored),
    ]
    lead = (
        "Every row read was accepted, quarantined, dropped as a repeat, or left to the month it belongs to."
    )
    return Section("What arrived", lead, tables=tables)


def sources(manifest: Manifest) -> Section:
    """Name the objects the month was made from."""
    pins = manifest.pins
    rows = [{**pin.model_dump(), "hash": (pin.sha256 or pin.version)[:16]} for pin in pins[:OBJECTS_SHOWN]]
    columns: Columns = (
        ("Dataset", "dataset", "text"),
        ("Object", "key", "code"),
        ("Bytes", "size", "count"),
        ("Hash or version begins", "hash", "code"),
    )
    unread = [item.model_dump() for item in manifest.ignored[:OBJECTS_SHOWN]]
    why: Columns = (("Object", "key", "code"), ("Why", "reason", "text"))
    tables = [table("Objects read", columns, rows), table("Objects not read", why, unread)]
    more = (
        f" The first {OBJECTS_SHOWN} are shown; the ledger has them all." if len(pins) > OBJECTS_SHOWN else ""
    )
    lead = f"{count_of(len(pins))} objects of {manifest.source}, pinned before the first was read.{more}"
    return Section("Sources", lead, tables=tables, is_wide=True)


def _band(first: int, last: int | None) -> str:
    """Name a band of minutes."""
    if last is None:
        return f"{first}+"
    return f"{first}" if first == last else f"{first}{NOTHING}{last}"


def _words(code: str) -> str:
    """Write a code of ours as words."""
    words = " ".join(word if word in ("NPI", "RTM") else word.lower() for word in code.split("_"))
    return words[:1].upper() + words[1:]
