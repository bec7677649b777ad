"""The 837P: what is written is what was meant, whatever stands in the data, and reads back the same."""

import dataclasses
import re
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edi.claim_837p import (
    CLAIM_COLUMNS,
    LINE_COLUMNS,
    Interchange,
    as_written,
    fold,
    read_claims,
    write_claims,
)
from edi.segments import Document
from tests.edi.made_837p import ADD_ON, CLAIM, INTERCHANGE, LINE, claim_frame, example, line_frame, many

FILES = Path(__file__).with_name("files")
SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "837p"


def read(data: bytes) -> tuple[pl.DataFrame, pl.DataFrame]:
    frames = read_claims(Document.read(data))
    return frames.claims.select(CLAIM_COLUMNS.keys()), frames.lines.select(LINE_COLUMNS.keys())


def minimal() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The claim of `pass/837p_minimal.837`: a 99457 and two units of 99458."""
    charge = {"units": 2, "charge": Decimal("100.00")}
    lines = line_frame(LINE, ADD_ON | charge).with_columns(diagnosis_pointers=pl.lit([1], pl.List(pl.Int64)))
    return claim_frame({"diagnosis_codes": ["I10"]}), lines


def test_the_minimal_claim_is_written_as_the_guide_has_it() -> None:
    interchange = dataclasses.replace(INTERCHANGE, line_break=True)
    assert write_claims(*minimal(), interchange) == (FILES / "pass" / "837p_minimal.837").read_bytes()


def test_without_line_breaks_the_same_segments_are_written() -> None:
    expected = (FILES / "pass" / "837p_minimal.837").read_bytes().replace(b"\n", b"")
    assert write_claims(*minimal(), INTERCHANGE) == expected


def test_the_order_of_the_rows_does_not_matter() -> None:
    claims, lines = many(50)
    shuffled = claims.sample(fraction=1, shuffle=True, seed=1), lines.sample(fraction=1, shuffle=True, seed=2)
    assert write_claims(*shuffled, INTERCHANGE) == write_claims(claims, lines, INTERCHANGE)


@pytest.mark.parametrize("at_a_time", [1, 7])
def test_a_file_written_in_parts_has_the_same_bytes(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    claims, lines = many(50)
    # A claim without lines stands between those that have some.
    lines = lines.filter(pl.col("claim_number") != claims["claim_number"][20])
    interchange = dataclasses.replace(INTERCHANGE, max_claims_per_transaction=4)
    whole = write_claims(claims, lines, interchange)
    monkeypatch.setattr("edi.claim_837p._CLAIMS_AT_A_TIME", at_a_time)
    assert write_claims(claims, lines, interchange) == whole
    assert read_claims(Document.read(whole)).transactions["claim_count"].to_list() == [4] * 12 + [2]


def test_a_provider_written_alike_has_one_loop_however_its_rows_spell_it() -> None:
    claims, lines = many(6)
    spelled = pl.Series(["Example Clinic", "EXAMPLE CLINIC", "Éxample  clinic"] * 2)
    claims = claims.with_columns(billing_npi=pl.lit("1234567893"), billing_name=spelled)
    document = Document.read(write_claims(claims, lines, INTERCHANGE))
    assert document.element(document.rows("HL"), 3).to_list() == ["20"] + ["22"] * 6


# A date of birth, a charge, and what the file says of them.
NEAR = [
    (date(1948, 1, 2), "60", "19480102", "60"),
    (date(1948, 1, 2), "160.50", "19480102", "160.5"),
    (date(1950, 12, 31), "0", "19501231", "0"),
    (date(1949, 2, 28), "60", "19490228", "60"),
]
FAR = [
    (date(1000, 1, 1), "0.05", "10000101", ".05"),
    (date(9999, 12, 31), "9999999999.99", "99991231", "9999999999.99"),
    (date(1948, 1, 2), "60", "19480102", "60"),
]


@pytest.mark.parametrize("written", [NEAR, FAR, [*NEAR, (None, "70", None, "70")]])
def test_a_day_and_an_amount_are_written_alike_in_any_company(
    written: list[tuple[date | None, str, str | None, str]],
) -> None:
    born, charged, days, amounts = zip(*written, strict=True)
    # Claims of different providers stand in another order than here.
    claims = many(len(written))[0].with_columns(
        billing_npi=pl.lit("1234567893"),
        subscriber_birth_date=pl.Series(born, dtype=pl.Date),
        total_charge=pl.Series([Decimal(charge) for charge in charged], dtype=pl.Decimal(12, 2)),
    )
    document = Document.read(write_claims(claims, line_frame().clear(), INTERCHANGE))
    assert document.element(document.rows("DMG"), 2).to_list() == list(days)
    assert document.element(document.rows("CLM"), 2).to_list() == list(amounts)


@pytest.mark.parametrize("payers", [["Médicare*B"] * 4, ["MEDICARE", "MEDICARE", "Médicare", "MEDICARE"]])
def test_what_all_claims_say_is_folded_as_what_one_says(payers: list[str]) -> None:
    claims, lines = many(4)
    claims = claims.with_columns(payer_name=pl.Series(payers))
    read_back = read(write_claims(claims, lines, INTERCHANGE))
    assert set(read_back[0]["payer_name"]) == set(as_written(claims)["payer_name"])


@pytest.mark.parametrize(
    "names", [[None, "DOE", None], [None, " DOE"], ["DOE ", None], ["DE  LA", None], [None, "A", " ", "B"]]
)
def test_spaces_are_seen_beside_absent_texts(names: list[str | None]) -> None:
    written = as_written(
        pl.DataFrame({"subscriber_middle_name": names}, schema={"subscriber_middle_name": pl.String})
    )
    plain = [" ".join(name.split()) or None if name else None for name in names]
    assert written["subscriber_middle_name"].to_list() == plain


def test_what_is_written_reads_back_and_writes_the_same_bytes_again() -> None:
    claims, lines = many(50)
    data = write_claims(claims, lines, INTERCHANGE)
    read_back = read(data)
    assert read_back[0].sort("claim_number").equals(as_written(claims).sort("claim_number"))
    key = ["claim_number", "line_number"]
    assert read_back[1].sort(key).equals(as_written(lines).sort(key))
    assert write_claims(*read_back, INTERCHANGE) == data


HOSTILE = st.text(
    st.sampled_from("A b*:~^\n\r\t\0\x1d|>ÉüßØ☺😀'\"-&;.,/#@_%§ﬁ\u0301\u202e\ud7ff7"), max_size=70
) | st.text(max_size=70)


@settings(deadline=None, max_examples=40)
@given(
    texts=st.dictionaries(
        st.sampled_from(
            [name for name, kind in CLAIM_COLUMNS.items() if kind == pl.String and name != "claim_number"]
        ),
        HOSTILE | st.none(),
    ),
    codes=st.lists(HOSTILE | st.none(), max_size=3) | st.none(),
    modifiers=st.lists(HOSTILE, max_size=2),
    control=HOSTILE | st.none(),
)
def test_hostile_text_never_becomes_a_delimiter_and_survives_a_round_trip(
    texts: dict[str, str | None],
    codes: list[str | None] | None,
    modifiers: list[str],
    control: str | None,
) -> None:
    claims = claim_frame(dict(texts) | {"diagnosis_codes": codes})
    lines = line_frame({"modifiers": modifiers, "line_control_number": control})
    data = write_claims(claims, lines, INTERCHANGE)
    assert re.fullmatch(rb"[A-Z0-9 !\"&'()+,\-./;?=*:~^]*", data)
    document = Document.read(data)
    assert document.findings.is_empty()
    has_rendering = as_written(claims)["rendering_npi"].item() is not None
    assert data.count(b"NM1*") == 5 + has_rendering
    read_back = read(data)
    assert write_claims(*read_back, INTERCHANGE) == data
    if has_rendering:
        assert read_back[0].equals(as_written(claims))
    assert read_back[1].equals(as_written(lines))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("José Ñúñez", "JOSE NUNEZ"),
        ("Müller-Lüdenscheid", "MULLER-LUDENSCHEID"),
        ("Straße", "STRASSE"),
        ("O'Brien", "O'BRIEN"),
        ("a*b:c~d^e", "A B C D E"),
        ("  two\t\nlines\r\n", "TWO LINES"),
        ("№ 5 ﬁne", "NO 5 FINE"),
        ("☺☺", ""),
        ("", ""),
        (None, None),
    ],
)
def test_text_is_folded_to_the_basic_character_set(text: str | None, expected: str | None) -> None:
    assert pl.select(fold(pl.lit(text, pl.String))).item() == expected


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("60.00", "60"),
        ("45.50", "45.5"),
        ("45.05", "45.05"),
        ("0.50", ".5"),
        ("100.00", "100"),
        ("0.00", "0"),
    ],
)
def test_amounts_lose_their_trailing_zeros_and_nothing_else(amount: str, written: str) -> None:
    claims = claim_frame({"total_charge": Decimal(amount)})
    data = write_claims(claims, line_frame({"charge": Decimal(amount)}), INTERCHANGE)
    assert f"CLM*RPM2611A0000017*{written}***".encode() in data
    assert f"SV1*HC:99457*{written}*UN*1".encode() in data
    assert read(data)[0]["total_charge"].item() == Decimal(amount)


def test_a_transaction_set_never_exceeds_its_limit_and_repeats_the_provider() -> None:
    claims, lines = many(10)
    data = write_claims(claims, lines, dataclasses.replace(INTERCHANGE, max_claims_per_transaction=3))
    document = Document.read(data)
    assert document.findings.is_empty()
    frames = read_claims(document)
    assert frames.transactions["claim_count"].to_list() == [3, 3, 3, 1]
    assert frames.transactions["batch_id"].to_list() == [f"RPM202611A000{n}" for n in range(1, 5)]
    assert frames.transactions["control_number"].to_list() == ["0001", "0002", "0003", "0004"]
    # Four claims of one provider and six of the other: sets of 3, then 1 and 2, then 3, then 1.
    assert data.count(b"**20*1~") == 5
    assert re.findall(rb"ST\*837.*?HL\*(\d+)\*\*20\*1~", data) == [b"1"] * 4
    assert sorted(frames.claims["claim_number"]) == sorted(claims["claim_number"])


def test_claims_follow_their_provider_in_order_of_claim_number() -> None:
    claims, lines = many(10)
    read_back, _ = read(write_claims(claims, lines, INTERCHANGE))
    assert read_back.select("billing_npi", "claim_number").equals(
        claims.sort("billing_npi", "claim_number").select("billing_npi", "claim_number")
    )


def test_two_addresses_of_one_provider_get_a_level_each() -> None:
    claims, lines = many(4)
    claims = claims.with_columns(billing_npi=pl.lit("1234567893")).with_row_index()
    other = pl.when(pl.col("index") % 2 == 0).then(pl.lit("2 ELM ST")).otherwise("billing_address_line")
    claims = claims.with_columns(billing_address_line=other).drop("index")
    read_back, _ = read(write_claims(claims, lines, INTERCHANGE))
    columns = ["claim_number", "billing_address_line"]
    assert read_back.select(columns).sort(columns).equals(claims.select(columns).sort(columns))


def test_long_texts_are_cut_to_their_element() -> None:
    claims, lines = example()
    long = claims.with_columns(subscriber_last_name=pl.lit("A" * 59 + " B"), billing_city=pl.lit("C" * 40))
    read_back, _ = read(write_claims(long, lines, INTERCHANGE))
    assert read_back["subscriber_last_name"].item() == "A" * 59
    assert read_back["billing_city"].item() == "C" * 30


def test_optional_segments_are_there_when_there_is_something_to_say() -> None:
    claims, lines = example()
    more = claims.with_columns(
        frequency_code=pl.lit("7"),
        payer_claim_control_number=pl.lit("2026123456"),
        medical_record_number=pl.lit("mrn-1"),
        subscriber_middle_name=pl.lit("Q"),
    )
    data = write_claims(more, lines, INTERCHANGE)
    assert b":B:7*Y*A*Y*Y~REF*F8*2026123456~REF*EA*MRN-1~HI*" in data
    assert b"NM1*IL*1*DOE*JANE*Q***MI*" in data
    bare = claims.with_columns(
        pl.lit(None).alias(name) for name in ("rendering_npi", "billing_taxonomy_code")
    )
    data = write_claims(bare, lines, INTERCHANGE)
    assert b"NM1*82" not in data
    assert b"PRV*" not in data


def test_a_claim_number_twice_is_refused() -> None:
    claims, lines = example()
    with pytest.raises(ValueError, match="occurs twice"):
        write_claims(pl.concat([claims, claims]), lines, INTERCHANGE)


def test_a_line_without_a_claim_is_refused() -> None:
    claims, lines = example()
    with pytest.raises(ValueError, match="1 lines belong to no claim"):
        write_claims(claims, pl.concat([lines, line_frame({"claim_number": "OTHER"})]), INTERCHANGE)


def test_an_interchange_without_claims_is_refused() -> None:
    claims, lines = example()
    with pytest.raises(ValueError, match="at least one claim"):
        write_claims(claims.clear(), lines.clear(), INTERCHANGE)


@pytest.mark.parametrize(
    "change",
    [
        {"sender_id": ""},
        {"sender_id": "A*B"},
        {"receiver_id": "SIXTEENCHARACTER"},
        {"control_number": 0},
        {"group_control_number": 1_000_000_000},
        {"usage": "X"},
        {"batch_id": "A" * 27},
        {"batch_id": "a~b"},
        {"max_claims_per_transaction": 0},
        {"sender_qualifier": "Z"},
    ],
)
def test_an_envelope_that_x12_cannot_carry_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(INTERCHANGE, **change)  # type: ignore[arg-type]


def test_the_isa_has_its_fixed_106_characters() -> None:
    data = write_claims(*example(), dataclasses.replace(INTERCHANGE, sender_id="a", receiver_id="b" * 15))
    assert data[103:106] == b"*:~"
    assert data[106:109] == b"GS*"
    assert b"GS*HC*A*BBBBBBBBBBBBBBB*" in data


def test_a_dependents_claim_keeps_the_subscriber_and_the_payers_apart() -> None:
    data = (FILES / "pass" / "837p_dependent_with_other_payer.837").read_bytes()
    claims, lines = read(data)
    row = claims.row(0, named=True)
    assert row["subscriber_last_name"] == "ROE"
    assert row["subscriber_birth_date"] is None
    assert row["payer_name"] == "FIRST PAYER"
    assert row["rendering_npi"] is None
    assert row["diagnosis_codes"] == ["J0300", "Z1159"]
    assert lines["date_of_service"].dt.to_string().to_list() == ["2026-10-01"]
    assert lines["modifiers"].to_list() == [["25", "59"]]
    assert lines["diagnosis_pointers"].to_list() == [[2, 1]]


# ---- files of other people ----


def naive(data: bytes) -> dict[str, object]:
    """Read claims the way one would by hand: split, and count; it shares no code with the product."""
    text = data.decode("utf-8-sig", "replace")
    at = text.find("ISA")
    element, terminator = "*", "~"
    if at >= 0:
        element = text[at + 3]
        head = re.match(
            rf"ISA(?:{re.escape(element)}[^{re.escape(element)}]*?){{15}}{re.escape(element)}[^A-Za-z0-9]?",
            text[at:],
        )
        rest = text[at + head.end() :] if head else ""
        terminator = rest[0] if rest else "~"
    segments = [part.strip().split(element) for part in text[max(at, 0) :].split(terminator)]

    def amount(words: list[str], position: int) -> Decimal:
        try:
            return Decimal(words[position]).quantize(Decimal("0.01"))
        except (InvalidOperation, IndexError):
            return Decimal(0)

    def of(tag: str) -> list[list[str]]:
        return [words for words in segments if words[0] == tag]

    return {
        "claims": [words[1] or None for words in of("CLM")],
        "total": sum((amount(words, 2) for words in of("CLM")), Decimal(0)),
        "lines": len(of("SV1")),
        "charges": sum((amount(words, 2) for words in of("SV1")), Decimal(0)),
        "controls": sorted(words[2] for words in of("REF") if words[1] == "6R"),
    }


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the shared samples are not on this machine")
def test_every_sample_of_other_people_reads_as_a_reader_by_hand_reads_it() -> None:
    files = sorted(SAMPLES.iterdir())
    assert len(files) == 91
    for path in files:
        data = path.read_bytes()
        frames = read_claims(Document.read(data))
        lines = frames.lines.filter(pl.col("code").is_not_null() | pl.col("charge").is_not_null())
        got = {
            "claims": frames.claims["claim_number"].to_list(),
            "total": frames.claims["total_charge"].sum(),
            "lines": lines.height,
            "charges": lines["charge"].sum(),
            "controls": sorted(frames.lines["line_control_number"].drop_nulls().to_list()),
        }
        assert got == naive(data), path.name


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the shared samples are not on this machine")
def test_a_sample_can_be_written_again() -> None:
    written = 0
    for path in sorted(SAMPLES.iterdir()):
        frames = read_claims(Document.read(path.read_bytes()))
        claims = frames.claims.filter(pl.col("claim_number").is_not_null()).unique("claim_number")
        lines = frames.lines.join(claims, on="claim", how="semi")
        if claims.is_empty():
            continue
        data = write_claims(claims, lines, INTERCHANGE)
        assert Document.read(data).findings.is_empty()
        written += 1
    assert written > 70


def test_interchange_is_what_the_file_says() -> None:
    frames = read_claims(Document.read(write_claims(*example(), INTERCHANGE)))
    sent = frames.transactions.row(0, named=True)
    assert isinstance(INTERCHANGE, Interchange)
    assert sent["submitter_id"] == sent["sender_id"] == "SUBMITTER01"
    assert sent["receiver_id"] == "RECEIVER01"
    assert sent["submitter_name"] == "EXAMPLE BILLING"
    assert sent["receiver_name"] == "EXAMPLE MAC"
    assert sent["usage"] == "T"
    assert sent["interchange_control_number"] == "000000123"
    assert sent["group_control_number"] == "123"
    assert CLAIM["claim_number"] in frames.claims["claim_number"]
