"""Benchmark: reading 835 remittances, beside oxedi and pyx12 on the same bytes.

Run it as a script for a table; `make bench` collects `run()`. `--large` adds a file of two million claims.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import polars as pl

CLAIMS = 200_000
LINES = 3
SHARE = 2_000  # claims that pyx12 reads
LARGE = 10  # times as many claims with --large

_HEAD = (
    "ISA*00*          *00*          *ZZ*PAYER          *ZZ*PROVIDER       *261110*1200*^*00501*000000001*0*T*:~"
    "GS*HP*PAYER*PROVIDER*20261110*1200*1*X*005010X221A1~ST*835*0001~"
    "BPR*I*{paid}*C*ACH*CCP*01*021000021*DA*1234567*1999999999**01*021000089*DA*7654321*20261110~"
    "TRN*1*TRACE0001*1999999999~DTM*405*20261110~N1*PR*EXAMPLE PAYER~N3*1 MAIN ST~N4*DES MOINES*IA*50309~"
    "PER*BL*HELP DESK*TE*8005550100~N1*PE*EXAMPLE CLINIC*XX*1234567893~REF*TJ*123456789~LX*1~"
)
_TAIL = "SE*{segments}*0001~GE*1*1~IEA*1*000000001~"
_CODES = ("99457", "99458", "99458")


def remittance(claims: int) -> bytes:
    """Write an 835 that balances, of `claims` claims with three lines each, about 570 bytes a claim."""
    number = pl.int_range(claims).cast(pl.String).str.zfill(8)
    line = [
        f"SVC*HC:{code}*60*38.42**1~DTM*472*20261015~CAS*CO*45*11.19**253*.78~CAS*PR*2*9.61~REF*6R*R{{}}-{n:02}~AMT*B6*48.81~"
        for n, code in enumerate(_CODES[:LINES], 1)
    ]
    text = pl.select(
        pl.format(
            "CLP*R{}*1*180*115.26*28.83*MB*26300{}*11*1~NM1*QC*1*SAMPLE*PERSON****MI*1EG4TE5MK73~"
            "NM1*82*1*TESTER*TERRY****XX*1234567893~MOA***MA01~REF*EA*{}~DTM*050*20261103~" + "".join(line),
            *[number] * (3 + LINES),
        )
    ).to_series()
    paid = f"{claims * 11526 // 100}.{claims * 11526 % 100:02}"
    head = _HEAD.format(paid=paid)
    segments = head.count("~") - 2 + claims * (6 + 6 * LINES) + 1
    return (head + text.str.join("").item() + _TAIL.format(segments=segments)).encode()


def _seconds(task: Callable[[], object], repeats: int = 3) -> float:
    def once() -> float:
        start = time.perf_counter()
        task()
        return time.perf_counter() - start

    return min(once() for _ in range(repeats))
