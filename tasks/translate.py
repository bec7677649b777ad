"""Translate: our frames to X12 and back, the one place that speaks both vocabularies.

`billing` says who is billed for what; the snapshot says who they are; `edi` knows neither. The billing
steps call `to_x12` for a bucket, the filing step calls `write_checked` for an interchange, the collection
`read_answers` for a file that came back and `sent_claims` for the file that it answers.
"""

import re
from dataclasses import dataclass, fields
from datetime import date
from functools import cache

import polars as pl

from billing.digests import digests
from edi import check, claim_837p, claim_columns, reader, segments
from schemas.answers import Answers
from schemas.shards import Interchange

# What a claim says besides its lines, in the order in which it is fingerprinted.
ORIGINAL_CLAIM = "1"


@dataclass(frozen=True)
class Parties:
    """Who a claim names: the snapshot tables, each whole or of one bucket."""

    patients: pl.DataFrame
    practitioners: pl.DataFrame
    providers: pl.DataFrame
    payers: pl.DataFrame


@dataclass(frozen=True)
class WrittenFile:
    """One interchange as bytes, with everything the checks found in it."""

    data: bytes
    findings: pl.DataFrame


class NotAsMeant(Exception):
    """A written file read back differs from the frames it was written from."""


def to_x12(claims: pl.DataFrame, lines: pl.DataFrame, parties: Parties) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Say billed claims in the words of the 837P.

    Returns:
        The claim frame and the line frame that `edi.claim_837p.write_claims` takes.

    Source: X12_837P_GUIDE §2 and §3: the payer id of a Part B claim is its contractor's number, the
    assignment code follows the provider's participation, the rendering provider is named only when it
    is not the billing provider.
    """
    patients = parties.patients.select(
        "patient_id",
        "medical_record_number",
        subscriber_last_name="last_name",
        subscriber_first_name="first_name",
        subscriber_middle_name="middle_name",
        subscriber_address_line="address_line",
        subscriber_city="city",
        subscriber_state="state",
        subscriber_postal_code=pl.col("postal_code").str.replace_all("-", ""),
        subscriber_birth_date="birth_date",
        subscriber_sex="sex",
    )
    providers = parties.providers.select(
        "participating",
        billing_npi="npi",
        billing_name="name",
        billing_tax_id=pl.col("tax_id").str.replace_all("-", ""),
        billing_taxonomy_code="taxonomy_code",
        billing_address_line="address_line",
        billing_city="city",
        billing_state="state",
        billing_postal_code=pl.col("postal_code").str.replace_all("-", ""),
    )
    rendering = parties.practitioners.select(
        rendering_npi="npi",
        rendering_last_name="last_name",
        rendering_first_name="first_name",
        rendering_taxonomy_code="taxonomy_code",
    )
    payers = parties.payers.select("payer_id", "kind", "claim_filing_code", payer_name="name")
    is_same_person = pl.col("rendering_npi") == pl.col("billing_npi")
    named = (
        claims.join(patients, on="patient_id", how="left")
        .join(providers, on="billing_npi", how="left")
        .join(rendering, on="rendering_npi", how="left")
        .join(payers, on="payer_id", how="left")
        .select(
            "claim_number",
            "total_charge",
            place_of_service_code="place_of_service",
            frequency_code=pl.lit(ORIGINAL_CLAIM),
            assignment_code=pl.when("participating").then(pl.lit("A")).otherwise(pl.lit("C")),
            benefits_assignment_code=pl.lit("Y"),
            release_code=pl.lit("Y"),
            payer_claim_control_number=pl.lit(None, dtype=pl.String),
            medical_record_number="medical_record_number",
            diagnosis_codes="diagnosis_codes",
            billing_npi="billing_npi",
            billing_name="billing_name",
            billing_tax_id="billing_tax_id",
            billing_taxonomy_code="billing_taxonomy_code",
            billing_address_line="billing_address_line",
            billing_city="billing_city",
            billing_state="billing_state",
            billing_postal_code="billing_postal_code",
            subscriber_last_name="subscriber_last_name",
            subscriber_first_name="subscriber_first_name",
            subscriber_middle_name="subscriber_middle_name",
            member_id="member_id",
            subscriber_address_line="subscriber_address_line",
            subscriber_city="subscriber_city",
            subscriber_state="subscriber_state",
            subscriber_postal_code="subscriber_postal_code",
            subscriber_birth_date="subscriber_birth_date",
            subscriber_sex="subscriber_sex",
            claim_filing_code="claim_filing_code",
            payer_name="payer_name",
            payer_id=pl.when(pl.col("kind") == "medicare_part_b").then("mac_contract").otherwise("payer_id"),
            rendering_npi=pl.when(~is_same_person).then("rendering_npi"),
            rendering_last_name=pl.when(~is_same_person).then("rendering_last_name"),
            rendering_first_name=pl.when(~is_same_person).then("rendering_first_name"),
            rendering_taxonomy_code=pl.when(~is_same_person).then("rendering_taxonomy_code"),
        )
    )
    # Four pointers at most; every diagnosis of a monitoring claim supports every line.
    pointers = claims.select(
        "claim_number",
        diagnosis_pointers=pl.int_ranges(1, pl.col("diagnosis_codes").list.len().clip(upper_bound=4) + 1),
    )
    service_lines = lines.join(pointers, on="claim_number", how="left").select(
        "claim_number",
        "line_number",
        "code",
        modifiers=pl.when(pl.col("modifiers") == "")
        .then(pl.lit([], dtype=pl.List(pl.String)))
        .otherwise(pl.col("modifiers").str.split(":")),
        charge="charge",
        units="units",
        date_of_service="date_of_service",
        line_control_number="line_control_number",
        diagnosis_pointers="diagnosis_pointers",
    )
    return named, service_lines


def content_hashes(x12_claims: pl.DataFrame, x12_lines: pl.DataFrame) -> pl.DataFrame:
    """Fingerprint each claim over everything its 837P text says, its lines included.

    Returns:
        claim_number, content_sha256.
    """
    line_text = (
        x12_lines.sort("claim_number", "line_number")
        .select("claim_number", text=_as_text(x12_lines.drop("claim_number")))
        .group_by("claim_number", maintain_order=True)
        .agg(pl.col("text").str.join("\x1e"))
    )
    whole = x12_claims.join(line_text, on="claim_number", how="left").select(
        "claim_number", text=_as_text(x12_claims) + "\x1d" + pl.col("text")
    )
    return whole.select("claim_number").with_columns(digests(whole["text"]).alias("content_sha256"))


def _as_text(frame: pl.DataFrame) -> pl.Expr:
    cells = [
        pl.col(name).cast(pl.List(pl.String)).list.join(",")
        if isinstance(dtype, pl.List)
        else pl.col(name).cast(pl.String)
        for name, dtype in frame.schema.items()
    ]
    return pl.concat_str([cell.fill_null("\x00") for cell in cells], separator="\x1f")


def write_checked(
    x12_claims: pl.DataFrame,
    x12_lines: pl.DataFrame,
    interchange: Interchange,
    parties: Parties,
    *,
    today: date,
    diagnosis_codes: pl.Series,
    full_check: bool = False,
) -> WrittenFile:
    """Write one interchange, read it back, compare it with its frames, and check it.

    Raises:
        NotAsMeant: If the bytes read back say anything else than the frames.
    """
    submitter = _submitter(x12_claims, interchange, parties)
    data = claim_837p.write_claims(x12_claims, x12_lines, submitter)
    _compare(data, x12_claims, x12_lines, interchange)
    findings = check.check_claims(data, today=today, diagnosis_codes=diagnosis_codes, full=full_check)
    return WrittenFile(data, findings)


def read_sent(data: bytes) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read a claim file of ours back into the frames it was written from."""
    found = claim_837p.read_claims(segments.Document.read(data))
    return (
        found.claims.select(claim_columns.CLAIM_COLUMNS.keys()),
        found.lines.select(claim_columns.LINE_COLUMNS.keys()),
    )


def _submitter(
    x12_claims: pl.DataFrame, interchange: Interchange, parties: Parties
) -> claim_837p.Interchange:
    """Fill the envelope: the first billing provider by NPI speaks for the submitter."""
    payers = parties.payers.filter(
        (pl.col("submitter_id") == interchange.sender_id) & (pl.col("receiver_id") == interchange.receiver_id)
    ).sort("payer_id")
    speaker = (
        parties.providers.join(x12_claims.select(npi="billing_npi").unique(), on="npi", how="semi")
        .sort("npi")
        .row(0, named=True)
    )
    return claim_837p.Interchange(
        sender_id=interchange.sender_id,
        receiver_id=interchange.receiver_id,
        receiver_name=payers["receiver_name"][0],
        submitter_name=speaker["name"],
        contact_name=speaker["contact_name"],
        contact_phone=_ten_digits(speaker["contact_phone"]),
        control_number=interchange.control_number,
        group_control_number=interchange.group_control_number,
        batch_id=interchange.batch_id,
        created_at=interchange.created_at,
        usage=interchange.usage,
        max_claims_per_transaction=int(payers.select(pl.col("max_claims_per_transaction").min()).item()),
    )


def _ten_digits(phone: str) -> str:
    """Keep a phone number's digits, without the country's 1."""
    return re.sub(r"\D", "", phone)[-10:]


def _compare(
    data: bytes, x12_claims: pl.DataFrame, x12_lines: pl.DataFrame, interchange: Interchange
) -> None:
    """Read the bytes back and hold them against the frames; a written file counts only when equal."""
    found = claim_837p.read_claims(segments.Document.read(data))
    for name, meant, read, key in (
        ("claims", x12_claims, found.claims, ["claim_number"]),
        ("lines", x12_lines, found.lines, ["claim_number", "line_number"]),
    ):
        columns = meant.columns
        expected = claim_837p.as_written(meant).select(columns).sort(key)
        actual = read.select(columns).sort(key)
        if not expected.equals(actual):
            differing = [
                column
                for column in columns
                if expected.height != actual.height or not expected[column].equals(actual[column])
            ]
            raise NotAsMeant(
                f"{interchange.file_name}: the {name} read back differ from those written in "
                f"{', '.join(differing)}; the file was not kept. Please report this with the input's version."
            )


def read_answers(data: bytes, name: str) -> Answers:
    """Read whatever came back; what cannot be read is a finding, never an error."""
    tables = reader.read_x12(data, name).tables
    # Only a TA1 stands outside every transaction set, and says nothing of who sent it.
    has_ta1 = "TA1" in tables["acknowledgements"]["kind"]
    return Answers(
        **{field.name: tables[field.name] for field in fields(Answers) if field.name in tables},
        interchanges=segments.Document.read(data).interchanges if has_ta1 else _no_interchanges(),
    )


@cache
def _no_interchanges() -> pl.DataFrame:
    return segments.Document.read(b"").interchanges


def sent_claims(data: bytes) -> pl.DataFrame:
    """Say where each claim stands in a file of ours: a 999 names transaction sets and places in them.

    Returns:
        transaction_control_number (ST02), batch_number (BHT03), claim_number, billing_npi, position (of the
        CLM in its set, where the ST is 1).
    """
    found = claim_837p.read_claims(segments.Document.read(data))
    sets = found.transactions.select(
        "transaction", "first_segment", batch_number="batch_id", transaction_control_number="control_number"
    )
    return found.claims.join(sets, on="transaction").select(
        "transaction_control_number",
        "batch_number",
        "claim_number",
        "billing_npi",
        position=pl.col("segment") - pl.col("first_segment") + 1,
    )
