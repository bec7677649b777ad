"""Columns: the types, coded values and checks of identifiers that several datasets share.

The dataset models in `schemas.sources`, the stages and the rules build on these. No model and no
rule of a single dataset belongs here.
"""

from typing import Final

import polars as pl

UTC: Final = pl.Datetime("us", "UTC")
MONEY: Final = pl.Decimal(12, 2)
SUM: Final = pl.Decimal(38, 2)  # of money, which no single amount has to hold

PROGRAMS: Final = ("RPM", "RTM", "CCM", "PCM", "TCM", "BHI", "OTHER")
STAFF_ROLES: Final = ("physician", "qhp", "clinical_staff", "administrative")
COUNTED_ACTIVITIES: Final = (
    "data_review",
    "patient_contact",
    "caregiver_contact",
    "care_plan_change",
    "care_coordination",
    "documentation",
)
ACTIVITIES: Final = (*COUNTED_ACTIVITIES, "device_setup", "technical_support", "scheduling", "other")
METHODS: Final = ("phone", "video", "in_person", "message", "portal", "none")
CAPTURES_OF_TIME: Final = ("timer", "manual")
CAPTURES_OF_READINGS: Final = ("automatic", "manual")
SEXES: Final = ("F", "M", "U")
PAYER_KINDS: Final = ("medicare_part_b", "medicare_advantage", "commercial", "medicaid")
COVERAGE_KINDS: Final = (
    "medicare_advantage",
    "hospice",
    "inpatient",
    "snf_part_a",
    "access_aligned",
    "rtm",
    "other_rpm_practitioner",
)

# What N402 may hold for an address in the United States, its territories and the armed forces' post.
STATES: Final = (
    *("AA", "AE", "AK", "AL", "AP", "AR", "AS", "AZ", "CA", "CO", "CT", "DC", "DE", "FL", "FM", "GA", "GU"),
    *("HI", "IA", "ID", "IL", "IN", "KS", "KY", "LA", "MA", "MD", "ME", "MH", "MI", "MN", "MO", "MP", "MS"),
    *("MT", "NC", "ND", "NE", "NH", "NJ", "NM", "NV", "NY", "OH", "OK", "OR", "PA", "PR", "PW", "RI", "SC"),
    *("SD", "TN", "TX", "UT", "VA", "VI", "VT", "WA", "WI", "WV", "WY"),
)

# CMS's layout of the Medicare Beneficiary Identifier: eleven places, no S, L, O, I, B or Z among the letters.
MBI_PATTERN: Final = (
    r"^[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]"
    r"[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9][AC-HJKMNP-RT-Y]{2}[0-9]{2}$"
)


def is_npi(npi: pl.Expr) -> pl.Expr:
    """Tell whether a text column holds NPIs with a right check digit (null counts as wrong).

    Source: the NPI check digit is the Luhn digit over the prefix 80840 and the number (CMS).
    """
    # The prefix 80840 adds 24 to every Luhn sum.
    total = pl.lit(24, dtype=pl.Int32)
    for place in range(10):
        digit = npi.str.slice(place, 1).cast(pl.Int32, strict=False)
        doubled = digit * 2 if place % 2 == 0 else digit
        total = total + pl.when(doubled > 9).then(doubled - 9).otherwise(doubled)
    return (npi.str.contains(r"^[12][0-9]{9}$") & (total % 10 == 0)).fill_null(value=False)


def is_writable(text: pl.Expr) -> pl.Expr:
    """Tell whether a text keeps a letter or digit in X12's basic set, accents folded."""
    return text.str.normalize("NFKD").str.contains("[A-Za-z0-9]")
