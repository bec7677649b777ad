"""File contents: what the 837P says of the claims of one interchange, in the frames it is written from.

`tasks.filing` asks for them before it writes. Most come from the month's billed buckets; a void repeats what
was sent, so it is read back from the file that left. Numbers and purpose are the ledger's.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import polars as pl

from schemas.errors import Refused, require_equal
from schemas.settings import load_settings
from schemas.shards import BilledBucket, Interchange, Snapshot
from tasks import translate
from tasks.claim_states import ORIGINAL, VOIDING
from tasks.ledger import Ledger
from tasks.staging import load, load_all
from tasks.storage import storage_at
from tasks.versions import STEM


def frames_of(
    interchange: Interchange, snapshot: Snapshot, billed: Sequence[BilledBucket]
) -> tuple[pl.DataFrame, pl.DataFrame, translate.Parties]:
    """Gather what the 837P says of the claims of one interchange, under the numbers the ledger gave them.

    Raises:
        Refused: If another run changed the month's claims meanwhile.
    """
    with Ledger(load_settings().ledger_url) as ledger:
        registered = ledger.interchange_claims(interchange.interchange_id).select(
            *("frequency_code", "payer_claim_number"),
            number="claim_number",
            registered_sha256="content_sha256",
            stem=pl.col("claim_number").str.head(STEM),
        )
        originals = ledger.files_of_originals(interchange.interchange_id)
    wanted = registered.filter(pl.col("frequency_code") != VOIDING)
    stem = pl.col("claim_number").str.head(STEM)
    claims = (
        load_all([bucket.x12_claims for bucket in billed]).with_columns(stem=stem).join(wanted, on="stem")
    )
    billed_claims = load_all([bucket.claims for bucket in billed]).select("claim_number", "content_sha256")
    current = claims.join(billed_claims, on="claim_number")
    is_same = (current["content_sha256"] == current["registered_sha256"]).all()
    if claims.height != wanted.height or not is_same:
        raise Refused(
            f"{interchange.file_name}: another run changed this month's claims. Run the month again."
        )
    lines = load_all([bucket.x12_lines for bucket in billed]).with_columns(stem=stem).join(wanted, on="stem")
    parties = translate.Parties(
        patients=pl.DataFrame(),
        practitioners=load(snapshot.tables["practitioners"]),
        providers=load(snapshot.tables["billing-providers"]),
        payers=load(snapshot.tables["payers"]),
    )
    voids = registered.join(originals, left_on="number", right_on="claim_number")
    taken_back = [_as_it_was_sent(voids.filter(pl.col("uri") == uri)) for uri in originals["uri"].unique()]
    return (
        pl.concat([_numbered_claims(claims), *(sent for sent, _ in taken_back)]).sort("claim_number"),
        pl.concat([_numbered_lines(lines), *(sent for _, sent in taken_back)]).sort(
            "claim_number", "line_number"
        ),
        parties,
    )


OF_LEDGER: Final = ("stem", "number", "registered_sha256", "frequency_code_right", "payer_claim_number")


def _numbered_claims(claims: pl.DataFrame) -> pl.DataFrame:
    """Give claims the number, the purpose and the payer's own number that the ledger knows."""
    is_original = pl.col("frequency_code_right") == ORIGINAL
    return claims.with_columns(
        claim_number="number",
        frequency_code="frequency_code_right",
        payer_claim_control_number=pl.when(~is_original).then("payer_claim_number"),
    ).drop(OF_LEDGER)


def _numbered_lines(lines: pl.DataFrame) -> pl.DataFrame:
    """Give lines their claim's number, and a control number that follows it."""
    control = pl.col("number") + pl.col("line_control_number").str.slice(STEM + 1)
    return lines.with_columns(claim_number="number", line_control_number=control).drop(
        OF_LEDGER, "frequency_code", strict=False
    )


def _as_it_was_sent(voids: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read what one file told its payer of claims that are taken back: a void repeats its original."""
    data = sent_bytes(*voids.select("uri", "sha256", "file_name").row(0))
    claims, lines = translate.read_sent(data)
    numbers = voids.select(
        *("number", "registered_sha256", "frequency_code", "payer_claim_number", "stem"),
        claim_number="original_claim_number",
    )
    return (
        _numbered_claims(claims.join(numbers, on="claim_number")),
        _numbered_lines(lines.join(numbers, on="claim_number")),
    )


def sent_bytes(uri: str, sha256: str, file_name: str) -> bytes:
    """Fetch the copy of a sent file from where it was first written."""
    folder, _, name = uri.rpartition("/")
    data = storage_at(folder).read(name)
    require_equal(f"the hash of {file_name}", sha256, hashlib.sha256(data).hexdigest())
    return data
