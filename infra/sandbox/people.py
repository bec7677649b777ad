"""People: the patients of the sample month, made up or taken from a folder of Synthea people.

`infra.sandbox.month` writes them as the datasets patients and coverage-windows. Every one of them could be
billed: what is wrong with some patients is planted by `infra.sandbox.faults`.
"""

from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from faker import Faker
from faker.providers.address.en_US import Provider as Address

from infra.sandbox.practices import Practices

# Letters that X12's basic character set does not have, and marks that it does.
_OTHER_NAMES: Final = pl.DataFrame(
    {
        "last_name": [
            "Núñez",
            "Müller",
            "O'Brien",
            "García-López",
            "Lindqvist-Åberg",
            "St. Clair",
            "de la Cruz",
        ],
        "first_name": ["José", "Zoë", "Anne-Marie", "François", "Renée", "Søren", "D'Andre"],
    }
)
_DIAGNOSES: Final = (
    "I10", "I10;E11.9", "E11.65;I10;E78.5", "I50.22;I10", "I50.32;N18.31;I13.0", "J44.9;I10", "I48.91;I10",
    "E11.9;Z79.4", "I11.0;I50.22", "I10;E78.5;G47.33",
)  # fmt: skip
_MBI_LETTERS: Final = "ACDEFGHJKMNPQRTUVWXY"
_MBI_PLACES: Final = (
    "123456789", _MBI_LETTERS, "0123456789" + _MBI_LETTERS, "0123456789", _MBI_LETTERS,
    "0123456789" + _MBI_LETTERS, "0123456789", _MBI_LETTERS, _MBI_LETTERS, "0123456789", "0123456789",
)  # fmt: skip
_PAYERS: Final = ("medicare_part_b", "SLVRMA", "KEYMUT", "STMCD")
_PAYER_SHARES: Final = (0.80, 0.12, 0.06, 0.02)
_DAY: Final = np.timedelta64(1, "D")


def name_pool(seed: int) -> pl.DataFrame:
    """Make a pool to draw from: last_name, first_name with its sex, street."""
    faker = Faker("en_US")
    faker.seed_instance(seed)
    rows = 600
    made = pl.DataFrame(
        {
            "last_name": [faker.last_name() for _ in range(rows)],
            "first_name": [faker.first_name_female() for _ in range(rows // 2)]
            + [faker.first_name_male() for _ in range(rows // 2)],
            "sex": ["F"] * (rows // 2) + ["M"] * (rows // 2),
            "street": [faker.street_name() for _ in range(rows)],
        }
    )
    others = _OTHER_NAMES.with_columns(sex=pl.lit("U"), street=pl.lit("Camino Peñasco #2*B"))
    return pl.concat([made, others])


def member_ids(numbers: np.ndarray) -> pl.Series:
    """Turn distinct whole numbers into distinct Medicare Beneficiary Identifiers of CMS's layout."""
    places = np.array([len(letters) for letters in _MBI_PLACES], dtype=object)
    span = int(np.prod(places))
    # Multiplying by a number without a common factor scatters them, and no two meet.
    rest = (numbers.astype(object) * 8_010_924_567_811 + 1_234_567_891) % span
    columns = []
    for letters in reversed(_MBI_PLACES):
        columns.append(np.array(list(letters))[(rest % len(letters)).astype(np.int64)])
        rest = rest // len(letters)
    texts = pl.DataFrame({f"place_{at}": column for at, column in enumerate(reversed(columns))})
    return texts.select(member_id=pl.concat_str(pl.all())).to_series()


def make_patients(
    rng: np.random.Generator, patients: int, month: date, practices: Practices, pool: pl.DataFrame
) -> pl.DataFrame:
    """Make patients who have been monitored for a while and may be billed.

    Returns:
        The columns of `patients`, with timezone and ordinal (from 0 within the practice) besides.
    """
    frame = _drawn(rng, patients, month, practices, pool)
    number = pl.int_range(1, pl.len() + 1)
    is_part_b = pl.col("payer") == "medicare_part_b"
    zip_digits = pl.when(number % 5 == 0).then(9).otherwise(5)  # Some people know their ZIP+4.
    plan_member = pl.concat_str(pl.col("payer").str.slice(0, 3), (number + 410_000_000).cast(pl.String))
    return _with_practitioners(
        frame.select(
            "patient_id",
            pl.when(is_part_b).then("mbi").otherwise(plan_member).alias("member_id"),
            "last_name", "first_name", "middle_name", "birth_date", "sex",
            pl.format("{} {}", "house", "street").alias("address_line"),
            "city", "state",
            pl.col("postal_code").str.head(zip_digits).alias("postal_code"),
            pl.when(is_part_b).then("mac_contract").otherwise("payer").alias("payer_id"),
            pl.col("npi").alias("billing_npi"),
            pl.when("is_in_facility").then("place_of_service").otherwise(pl.lit("11")).alias("place_of_service"),
            "diagnosis_codes", "consent_date", "order_date", "prior_visit_date",
            pl.format("CP-{}", number.cast(pl.String).str.zfill(7)).alias("care_plan_id"),
            "enrolled_on",
            pl.when("has_left").then(pl.lit(month).dt.offset_by("1mo")).alias("disenrolled_on"),
            pl.lit(None, dtype=pl.Date).alias("died_on"),
            pl.format("MRN{}", number + 500_000).alias("medical_record_number"),
            "timezone",
            pl.int_range(pl.len()).over("npi").alias("ordinal"),
        ),
        practices.practitioners,
    )  # fmt: skip


def _drawn(
    rng: np.random.Generator, patients: int, month: date, practices: Practices, pool: pl.DataFrame
) -> pl.DataFrame:
    """Draw what chance decides about each patient, beside the practice the patient is dealt to."""
    share = practices.practices["patient_share"].to_numpy()
    dealt = practices.practices[rng.choice(len(share), patients, p=share / share.sum()).tolist()]
    named, housed = (pool[rng.integers(0, len(pool), patients).tolist()] for _ in range(2))
    enrolled = np.datetime64(month) - rng.integers(20, 420, patients) * _DAY
    payer = rng.choice(_PAYERS, patients, p=_PAYER_SHARES)
    return pl.DataFrame(
        {
            "patient_id": [f"P{number:07}" for number in range(1, patients + 1)],
            "mbi": member_ids(np.arange(1, patients + 1)),
            "last_name": pool["last_name"].gather(rng.integers(0, len(pool), patients)),
            "first_name": named["first_name"],
            "middle_name": pl.Series([None, "A", "J", "Marie"]).gather(rng.integers(0, 4, patients)),
            "birth_date": np.datetime64(month) - rng.integers(65 * 366, 95 * 365, patients) * _DAY,
            "sex": named["sex"],
            "street": housed["street"],
            "house": rng.integers(1, 9999, patients),
            "payer": payer,
            # A device supply has no rate in a facility, so whoever has it billed is not in one.
            "is_in_facility": (rng.random(patients) < dealt["facility_share"].to_numpy())
            & (payer != "SLVRMA"),
            "diagnosis_codes": rng.choice(_DIAGNOSES, patients),
            "consent_date": enrolled - rng.integers(0, 6, patients) * _DAY,
            "order_date": enrolled - rng.integers(0, 11, patients) * _DAY,
            "prior_visit_date": enrolled - rng.integers(10, 200, patients) * _DAY,
            "enrolled_on": enrolled,
            "has_left": rng.random(patients) < 0.01,
        }
    ).hstack(
        dealt.select("npi", "city", "state", "postal_code", "mac_contract", "timezone", "place_of_service")
    )


def _with_practitioners(patients: pl.DataFrame, practitioners: pl.DataFrame) -> pl.DataFrame:
    """Deal the patients of each practice to its practitioners in turn."""
    staff = practitioners.group_by("billing_npi").agg(rendering_npis="npi")
    at = pl.col("ordinal") % pl.col("rendering_npis").list.len()
    return (
        patients.join(staff, on="billing_npi", how="left", maintain_order="left")
        .with_columns(rendering_npi=pl.col("rendering_npis").list.get(at))
        .drop("rendering_npis")
    )


def make_coverage(rng: np.random.Generator, patients: pl.DataFrame, month: date) -> pl.DataFrame:
    """Make the past of some patients' coverage: windows of every kind that ended before the month."""
    kinds = (
        "medicare_advantage",
        "hospice",
        "inpatient",
        "snf_part_a",
        "access_aligned",
        "rtm",
        "other_rpm_practitioner",
    )
    some = patients.select("patient_id").filter(rng.random(len(patients)) < 0.06)
    starts_on = np.datetime64(month) - rng.integers(60, 300, len(some)) * _DAY
    return some.with_columns(
        kind=pl.Series(rng.choice(kinds, len(some))),
        starts_on=pl.Series(starts_on).cast(pl.Date),
        ends_on=pl.Series(starts_on + rng.integers(1, 50, len(some)) * _DAY).cast(pl.Date),
    )


def take_synthea(patients: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Give the first patients the names, addresses and dates of a Synthea export's people.

    The folder is read, never copied from beyond those cells; a missing ZIP code stays missing.
    """
    names = dict(zip(Address.states, (code for code in Address.states_abbr if code != "DC"), strict=True))
    people = (
        pl.read_csv(folder / "patients.csv", infer_schema=False)
        .head(len(patients))
        .select(
            last_name="LAST",
            first_name="FIRST",
            birth_date=pl.col("BIRTHDATE").str.to_date(),
            died_on=pl.col("DEATHDATE").str.slice(0, 10).str.to_date(),
            sex="GENDER",
            address_line="ADDRESS",
            city="CITY",
            state=pl.col("STATE").replace(names),
            postal_code="ZIP",
        )
    )
    taken = patients.head(len(people)).with_columns(people.get_columns())
    return pl.concat([taken, patients.tail(len(patients) - len(people))])
