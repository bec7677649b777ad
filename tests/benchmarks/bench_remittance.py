"""Benchmark: reading 835 remittances, beside oxedi and pyx12 on the same bytes.

Run it as a script for a table; `make bench` collects `run()`. `--large` adds a file of two million claims.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import StringIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import oxedi
import polars as pl
from pyx12.error_handler import errh_null
from pyx12.params import params
from pyx12.x12context import X12ContextReader

from edi.parts import parts
from edi.reader import write_tables
from edi.remittance import read_remittance_parts

CLAIMS = 200_000
LINES = 3
SHARE = 2_000  # claims that pyx12 reads
LARGE = 10  # times as many claims with --large

_HEAD = (
    "ISA*00*          *00*          *ZZ*PAYER          *ZZ*PROVIDER       "
    "*261110*1200*^*00501*000000001*0*T*:~"
    "GS*HP*PAYER*PROVIDER*20261110*1200*1*X*005010X221A1~ST*835*0001~"
    "BPR*I*{paid}*C*ACH*CCP*01*021000021*DA*1234567*1999999999**01*021000089*DA*7654321*20261110~"
    "TRN*1*TRACE0001*1999999999~DTM*405*20261110~N1*PR*EXAMPLE PAYER~N3*1 MAIN ST~N4*DES MOINES*IA*50309~"
    "PER*BL*HELP DESK*TE*8005550100~N1*PE*EXAMPLE CLINIC*XX*1234567893~REF*TJ*123456789~LX*1~"
)
_TAIL = "SE*{segments}*0001~GE*1*1~IEA*1*000000001~"
_CODES = ("99457", "99458", "99458")


def remittance(claims: int, named: pl.Series | None = None) -> bytes:
    """Write an 835 that balances, of `claims` claims with three lines each, about 570 bytes a claim.

    Args:
        named: The claim numbers it answers, where they must be somebody's.
    """
    number = pl.int_range(claims).cast(pl.String).str.zfill(8)
    name = pl.format("R{}", number) if named is None else named
    line = [
        f"SVC*HC:{code}*60*38.42**1~DTM*472*20261015~CAS*CO*45*11.19**253*.78~CAS*PR*2*9.61~"
        f"REF*6R*{{}}-{n:02}~AMT*B6*48.81~"
        for n, code in enumerate(_CODES[:LINES], 1)
    ]
    text = pl.select(
        pl.format(
            "CLP*{}*1*180*115.26*28.83*MB*26300{}*11*1~NM1*QC*1*SAMPLE*PERSON****MI*1EG4TE5MK73~"
            "NM1*82*1*TESTER*TERRY****XX*1234567893~MOA***MA01~REF*EA*{}~DTM*050*20261103~" + "".join(line),
            *(name, number, number),
            *[name] * LINES,
        )
    ).to_series()
    paid = f"{claims * 11526 // 100}.{claims * 11526 % 100:02}"
    head = _HEAD.format(paid=paid)
    segments = head.count("~") - 2 + claims * (6 + 6 * LINES) + 1
    body: str = text.str.join("").item()
    return (head + body + _TAIL.format(segments=segments)).encode()


def _rate(task: Callable[[], int], repeats: int = 3) -> float:
    """Take claims per processor second, the best of some runs: other work on the machine counts little."""

    def once() -> float:
        start = time.process_time()
        return task() / (time.process_time() - start)

    return max(once() for _ in range(repeats))


def _read(data: bytes | mmap) -> int:
    return sum(len(part.claims) for part in read_remittance_parts(parts(data)))


def _read_with_oxedi(data: bytes) -> int:
    return len(oxedi.parse(data).tables.to_polars()["claims"])


def _read_with_pyx12(data: bytes) -> int:
    """Walk the claims with pyx12's context reader, its way of reading a file by its map."""
    reader = X12ContextReader(params(), errh_null(), StringIO(data.decode()))
    return sum(1 for node in reader.iter_segments("2100") if node.id == "2100")


def _alone(measure: str, path: Path) -> float:
    """Measure in a process of its own, with one thread: "per core" is what one core does."""
    run_ = subprocess.run(
        [sys.executable, __file__, measure, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "POLARS_MAX_THREADS": "1"},
    )
    return float(run_.stdout)


def run(*, large: bool = False) -> list[dict[str, Any]]:
    """Measure; each row: name, value, unit, goal, and the ratio that the goal is about (null for none)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "remittance.835"
        path.write_bytes(remittance(CLAIMS))
        ours, theirs, peak = (_alone(measure, path) for measure in ("ours", "oxedi", "memory"))
        path.write_bytes(remittance(SHARE))
        slow = _alone("pyx12", path)
        unit = "claims/s and core"
        rows: list[dict[str, Any]] = [
            {"name": "835, ours", "value": ours, "unit": unit, "goal": None, "ratio": None},
            {"name": "835, beside oxedi", "value": theirs, "unit": unit, "goal": 2, "ratio": ours / theirs},
            {"name": "835, beside pyx12", "value": slow, "unit": unit, "goal": 300, "ratio": ours / slow},
            {"name": "835, memory", "value": peak, "unit": "MB", "goal": 500, "ratio": peak / 500},
        ]
        if large:
            path.write_bytes(remittance(CLAIMS * LARGE))
            speed, peak = _alone("large", path), _alone("memory", path)
            name = f"835, {LARGE} times as large"
            rows.append({"name": name, "value": speed, "unit": unit, "goal": 0.8, "ratio": speed / ours})
            rows.append(
                {"name": f"{name}, memory", "value": peak, "unit": "MB", "goal": 500, "ratio": peak / 500}
            )
    return rows


def _large(path: Path) -> float:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
        return _rate(lambda: _read(mapped), repeats=1)


def _memory(path: Path) -> float:
    """Read a file to Parquet, and say the most memory this process held, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        write_tables(path, Path(folder))
    # Not ru_maxrss: a child begins with that of its parent.
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def _of_bytes(read: Callable[[bytes], int]) -> Callable[[Path], float]:
    def measure(path: Path) -> float:
        data = path.read_bytes()
        return _rate(lambda: read(data))

    return measure


_MEASURES = {
    "ours": _of_bytes(_read),
    "oxedi": _of_bytes(_read_with_oxedi),
    "pyx12": _of_bytes(_read_with_pyx12),
    "large": _large,
    "memory": _memory,
}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in _MEASURES:
        sys.stdout.write(str(_MEASURES[sys.argv[1]](Path(sys.argv[2]))))
    else:
        for row in run(large="--large" in sys.argv):
            ratio = "" if row["ratio"] is None else f"{row['ratio']:8.2f}"
            sys.stdout.write(f"{row['name']:32} {row['value']:12,.0f} {row['unit']:18} {ratio}\n")
