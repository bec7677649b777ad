"""Digests: names and fingerprints that stay the same whatever machine or release computes them.

`billing.claims` numbers and seals its claims here, `tasks.translate` takes fingerprints of what a claim
says. These are the only functions of the room that loop in Python, about a microsecond a row, because
Polars' own hash may change between releases.
"""

from base64 import b32encode
from hashlib import blake2b, sha256

import polars as pl


def name_codes(text: pl.Series) -> pl.Series:
    """Turn each text into eleven characters A-Z and 2-7: 55 bits of its BLAKE2b."""
    codes = [b32encode(blake2b(key.encode(), digest_size=7).digest())[:11].decode() for key in text]
    return pl.Series(text.name, codes, pl.String)


def digests(text: pl.Series) -> pl.Series:
    """Turn each text into its SHA-256, in hexadecimal."""
    return pl.Series(text.name, [sha256(words.encode()).hexdigest() for words in text], pl.String)
