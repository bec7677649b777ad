"""Work with answers: rejections, answers that decide nothing or fit nothing, files that answer nothing.

`billing.worklist` gathers the items, `billing.actions` says what to do about them. What an answer did to a
claim's state was decided when it was posted; here it is only found again. Money is what a claim was expected
to bring. Answers that never came are `billing.work_silence`'s.
"""

from typing import Final

import polars as pl

from billing.books import ENDED, Books, states
from billing.work_money import items_of
from schemas.columns import SUM

OF_FILES: Final = ("TA1", "999")  # answers to a whole file or set
# By what an answer names a file of ours, and how people call it.
FILE_NUMBERS: Final = {
    "interchange_control_number": "interchange",
    "group_control_number": "group",
    "batch_number": "batch",
}
# What may lie in an inbox and answers nothing, by ST01.
NO_ANSWERS: Final = {
    "270": "an eligibility request",
    "271": "an eligibility answer",
    "276": "a request for a claim's status",
    "278": "a request for authorization",
    "820": "a premium payment",
    "834": "an enrolment",
    "837": "a claim file",
}


def rejections(books: Books) -> pl.DataFrame:
    """List claims that were rejected and still wait, with the codes of the last rejection."""
    waiting = live_claims(books).filter(pl.col("state") == "rejected")
    rejected = books.answers.filter(pl.col("outcome") == "rejected").with_columns(_code(), _words())
    of_claim = rejected.filter(pl.col("claim_id").is_not_null()).select("claim_id", *_SAID)
    # Where a whole file or set was refused, no answer names the claim.
    of_file = rejected.filter(pl.col("claim_id").is_null(), pl.col("interchange_id").is_not_null())
    spread = waiting.select("claim_id", "interchange_id").join(
        of_file.select("interchange_id", *_SAID), on="interchange_id"
    )
    said = pl.concat([of_claim, spread.join(of_claim, on="claim_id", how="anti").select("claim_id", *_SAID)])
    last = (
        said.sort("received_at", descending=True)
        .group_by("claim_id", maintain_order=True)
        .agg(pl.col("code", "received_at").first(), words=pl.col("words").unique(maintain_order=True).head(4))
    )
    found = waiting.join(last, on="claim_id", how="left").with_columns(
        words=pl.col("words").list.sort().list.join(" ").fill_null("no code that is left")
    )
    return items_of(
        found,
        "rejection",
        code="code",
        key=pl.format("rejection:{}:{}", "claim_number", pl.col("words").str.head(120)),
        # A refused file is one fault, whoever its claims belong to.
        incident=pl.when(pl.col("code").is_in(OF_FILES))
        .then(pl.format("file {} {}", "interchange_id", "words"))
        .otherwise("words"),
        claim_id="claim_id",
        money="expected",
        since=pl.coalesce(pl.col("received_at").dt.date(), pl.col("sent_at").dt.date(), "date_of_service"),
        reason=pl.format("Rejected with {}.", "words"),
    )


_SAID: Final = ("code", "words", "received_at")


def _code() -> pl.Expr:
    """Name what decides the action: the status of a 277CA, else the kind of the answer."""
    status = pl.col("codes").str.json_path_match("$.status")
    return pl.when(pl.col("kind") == "277CA").then(status).otherwise("kind").alias("code")


def _words() -> pl.Expr:
    """Write an answer's codes the way people quote them: A7:164:IL, 999 R, TA1 R:025."""
    codes = pl.col("codes")
    of_277 = pl.concat_str(
        [codes.str.json_path_match(f"$.{name}") for name in ("category", "status", "entity")],
        separator=":",
        ignore_nulls=True,
    )
    other = pl.concat_str(
        [
            codes.str.json_path_match(f"$.{name}")
            for name in ("code", "note", "syntax", "segment_id", "element")
        ],
        separator=":",
        ignore_nulls=True,
    )
    return (
        pl.when(pl.col("kind") == "277CA")
        .then(of_277)
        .otherwise(pl.format("{} {}", "kind", other))
        .alias("words")
    )


def investigations(books: Books) -> pl.DataFrame:
    """List answers that decide nothing about a claim or a file that has not moved on since."""
    claims = live_claims(books).select("claim_id", "claim_number", "state", "expected")
    moved_on = books.answers.filter(pl.col("kind") == "999", pl.col("outcome") == "accepted")[
        "interchange_id"
    ]
    open_ones = (
        books.answers.filter(pl.col("outcome") == "investigate", "is_matched")
        .with_columns(_words())
        .join(claims.rename({"claim_number": "our_number"}), on="claim_id", how="left")
        .join(books.interchanges.select("interchange_id", "file_name"), on="interchange_id", how="left")
        .filter(
            pl.col("state").is_in(["built", "sent", "received"]) | pl.col("claim_id").is_null(),
            ~(pl.col("claim_id").is_null() & pl.col("interchange_id").is_in(moved_on.implode())),
        )
    )
    whose = pl.coalesce("our_number", "claim_number", "file_name", pl.lit("-")).str.head(60)
    return items_of(
        open_ones,
        "investigate",
        code="kind",
        key=pl.format("investigate:{}:{}:{}", "file_id", whose, pl.col("words").str.head(80)),
        incident="words",
        claim_id="claim_id",
        reference=pl.coalesce("our_number", "file_name"),
        money="expected",
        since=pl.col("received_at").dt.date(),
        reason=pl.format("Answered with {}.", "words"),
    )


def unmatched_answers(books: Books) -> pl.DataFrame:
    """List statements about what is none of ours, an item for each file and claim number or file of ours."""
    unmatched = (
        books.answers.filter(~pl.col("is_matched"))
        .group_by("file_id", "kind", "claim_number")
        .agg(pl.col("charge").max(), pl.col("received_at").min(), pl.col("codes").first())
        .join(books.files.select("file_id", "name"), on="file_id", how="left")
    )
    number = pl.col("claim_number").fill_null("-")
    file = pl.coalesce(
        pl.format(f"{word} {{}}", pl.col("codes").str.json_path_match(f"$.{name}"))
        for name, word in FILE_NUMBERS.items()
    ).fill_null("a file")
    return items_of(
        unmatched,
        "unmatched_answer",
        code=pl.when(pl.col("claim_number").is_null()).then(pl.lit("file")),
        key=pl.format("unmatched_answer:{}:{}", "file_id", number.str.head(120)),
        incident=pl.format("file {}", "file_id"),
        reference="name",
        money="charge",
        since=pl.col("received_at").dt.date(),
        reason=pl.when(pl.col("claim_number").is_not_null())
        .then(pl.format("A {} in {} names a claim that is none of ours.", "kind", "name"))
        .otherwise(pl.format("A {} in {} answers {}, which is none of ours.", "kind", "name", file)),
    )


def unusable_files(books: Books) -> pl.DataFrame:
    """List files that could not be read, or answer nothing; held payments are listed by payment instead."""
    held = books.remittances.filter(pl.col("state") == "quarantined")["file_id"]
    lost = books.files.filter(
        pl.col("state").is_in(["unreadable", "quarantined"]), ~pl.col("file_id").is_in(held.implode())
    )
    answers_nothing = (pl.col("state") == "unreadable") & (pl.col("kind") != "unknown")
    what = pl.format("{} (X12 {})", pl.col("kind").replace_strict(NO_ANSWERS, default="no answer"), "kind")
    return pl.concat(
        [
            items_of(
                lost.filter(~answers_nothing),
                "unreadable_file",
                key=pl.format("unreadable_file:{}", "file_id"),
                reference="name",
                since=pl.col("received_at").dt.date(),
                reason=pl.format("{} was kept and could not be used.", "name"),
            ),
            items_of(
                lost.filter(answers_nothing),
                "not_an_answer",
                code="kind",
                key=pl.format("not_an_answer:{}", "file_id"),
                reference="name",
                since=pl.col("received_at").dt.date(),
                reason=pl.format("{} is {}; it was kept, and nothing of it was used.", "name", what),
            ),
        ]
    )


def live_claims(books: Books) -> pl.DataFrame:
    """Return the live claims, their states and what they are expected to bring."""
    expected = books.lines.group_by("claim_id").agg(expected=pl.col("medicare_estimate").sum().cast(SUM))
    claims = books.claims.join(states(books), on="claim_id").join(expected, on="claim_id", how="left")
    return claims.filter(~pl.col("state").is_in(ENDED))
