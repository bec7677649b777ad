"""Made-up answers to the claims of `made_claims`: TA1, 999, 277CA and 835 as bytes, and how to post them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import sqlalchemy as sa

from schemas.answers import CollectedFile
from tasks.arrivals import ArrivedFile
from tasks.claim_states import CLAIM
from tasks.collecting import SENT_CLAIMS
from tasks.database import query, reading
from tasks.ledger import Ledger
from tasks.posting import post_file
from tasks.translate import read_answers
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

LATER = AT + timedelta(days=15)
NUMBERS = [f"R2610ABCDE{n:06}1" for n in range(20)]


@dataclass(frozen=True)
class Svc:
    """One SVC: what was charged and paid, and the CAS segments between."""

    charge: str
    paid: str
    cas: tuple[str, ...] = ()
    code: str = "99457"
    control: str | None = None
    more: tuple[str, ...] = ()
    units: str = "1"


def clp(
    number: str | None,
    *lines: Svc,
    status: str = "1",
    icn: str = "",
    patient: str = "0",
    more: tuple[str, ...] = (),
) -> list[str]:
    """Write one claim; charge and paid are those of its lines."""
    charge, paid = (sum(Decimal(getattr(line, name)) for line in lines) for name in ("charge", "paid"))
    segments = [f"CLP*{number or ''}*{status}*{charge}*{paid}*{patient}*MB*{icn}", *more]
    for line in lines:
        segments += [f"SVC*HC:{line.code}*{line.charge}*{line.paid}**{line.units}", "DTM*472*20261020"]
        segments += [f"CAS*{cas}" for cas in line.cas]
        segments += [f"REF*6R*{line.control}"] if line.control else []
        segments += line.more
    return segments


def paid_claim(n: int, **changes: Any) -> list[str]:
    """Write the claim of patient n as a payer pays it: 55.25 a line becomes 31.36, all reasons named."""
    number = NUMBERS[n]
    cas = ("CO*45*15.25**253*.64", "PR*2*8")
    lines = [
        Svc("55.25", "31.36", cas, code, f"{number}-0{i}") for i, code in enumerate(("99457", "99458"), 1)
    ]
    return clp(changes.pop("number", number), *lines, icn=f"ICN{n:04}", **changes)


def payment(
    *claims: list[str],
    plb: Sequence[str] = (),
    amount: str | None = None,
    trace: str = "EFT1",
    on: str = "20261117",
) -> list[str]:
    """Write one 835 transaction set, balanced unless an amount is given."""
    paid = sum(Decimal(c.split("*")[4]) for claim in claims for c in claim if c.startswith("CLP"))
    withheld = sum(Decimal(p.rsplit("*", 1)[1]) for p in plb)
    bpr = f"BPR*I*{amount or paid - withheld}*C*ACH*CCP*01*1*DA*2*1999999999**01*3*DA*4*{on}"
    head = [
        bpr,
        f"TRN*1*{trace}*1999999999",
        "N1*PR*EXAMPLE PAYER*XV*05102",
        "N1*PE*CLINIC*XX*1234567893",
        "LX*1",
    ]
    return [
        *head,
        *(segment for claim in claims for segment in claim),
        *(f"PLB*1234567893*20261231*{p}" for p in plb),
    ]


def interchange(
    *sets: list[str], kind: str = "835", number: int = 1, sender: str = "MAC", line_break: str = ""
) -> bytes:
    """Put transaction sets into an envelope of their own."""
    codes = {"835": ("HP", "005010X221A1"), "999": ("FA", "005010X231A1"), "277": ("HN", "005010X214")}
    group, version = codes[kind]
    segments = [
        f"ISA*00*{'':10}*00*{'':10}*ZZ*{sender:15}*ZZ*{'CLINIC':15}*261117*1200*^*00501*{number:09}*0*T*:",
        f"GS*{group}*{sender}*CLINIC*20261117*1200*{number}*X*{version}",
    ]
    for place, body in enumerate(sets, 1):
        segments += [f"ST*{kind}*{place:04}", *body, f"SE*{len(body) + 2}*{place:04}"]
    segments += [f"GE*{len(sets)}*{number}", f"IEA*1*{number:09}"]
    return "".join(f"{segment}~{line_break}" for segment in segments).encode()


def era(*claims: list[str], number: int = 1, **changes: Any) -> bytes:
    """Write an 835 of one payment."""
    return interchange(payment(*claims, **changes), number=number)


def ta1(code: str, note: str = "000", answered: int = 1, number: int = 100) -> bytes:
    """Answer our interchange."""
    isa = f"ISA*00*{'':10}*00*{'':10}*ZZ*{'MAC':15}*ZZ*{'CLINIC':15}*261103*1200*^*00501*{number:09}*0*T*:~"
    return f"{isa}TA1*{answered:09}*261103*0930*{code}*{note}~IEA*0*{number:09}~".encode()


def ack(group: str, *sets: tuple[str, str], counts: str = "1*1*1", number: int = 200) -> bytes:
    """Answer our group: a 999 with AK9 code `group` and (ST02, IK5 code) of each set."""
    body = ["AK1*HC*1*005010X222A1"]
    for control, code in sets:
        body += [f"AK2*837*{control}", f"IK5*{code}"]
    return interchange([*body, f"AK9*{group}*{counts}"], kind="999", number=number)


def status(
    *claims: tuple[str, str, str], source: str = "PR", number: int = 300, totals: Sequence[str] = ()
) -> bytes:
    """Write a 277CA: claim number, status code and the payer's number of each claim."""
    body = ["BHT*0085*08*X1*20261104*1200*TH", "HL*1**20*1", f"NM1*{source}*2*SOMEBODY*****46*MAC"]
    body += ["HL*2*1*21*1", "NM1*41*2*CLINIC*****46*CLINIC", "TRN*2*RPM202610-0000000010001", *totals]
    body += ["HL*3*2*19*1", "NM1*85*2*CLINIC*****XX*1234567893"]
    for place, (claim, code, icn) in enumerate(claims, 4):
        action = "WQ" if code[:2] in ("A0", "A1", "A2", "A5") else "U"
        body += [f"HL*{place}*3*PT", "NM1*QC*1*X", f"TRN*2*{claim}", f"STC*{code}*20261104*{action}*110.5"]
        body += [f"REF*1K*{icn}"] if icn else []
    return interchange(body, kind="277", number=number)


def send(ledger: Ledger, patients: int = 4, start: int = 0) -> None:
    """Register, file and send claims."""
    ledger.register_claims(*month(patients, start=start), month=OCTOBER, source=SOURCE, at=AT)
    for number in ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT).filter(state="reserved")[
        "interchange_id"
    ]:
        ledger.record_written(number, uri="claims/one.837", sha256="f" * 64, size=1_000)
        ledger.record_sending(number)
        ledger.record_sent(number, receipt={"etag": "1"}, at=AT)


def sent_sets(sets: dict[str, list[str]], interchange_id: int = 1) -> pl.DataFrame:
    """Say which claims stand in which set of our file."""
    rows = [
        {
            "interchange_id": interchange_id,
            "transaction_control_number": control,
            "batch_number": f"RPM202610-000000001{control}",
            "claim_number": number,
            "billing_npi": "1234567893",
            "position": 10 * place,
        }
        for control, numbers in sets.items()
        for place, number in enumerate(numbers, 1)
    ]
    return pl.DataFrame(rows, schema=SENT_CLAIMS)


def post(
    ledger: Ledger, data: bytes, sent: pl.DataFrame | None = None, at: datetime = LATER
) -> CollectedFile:
    """Post one file."""
    sha256 = hashlib.sha256(data).hexdigest()
    file = ArrivedFile(sha256, "answer.x12", f"inbox/{sha256}#1", f"answers/{sha256}", len(data), at)
    return post_file(
        ledger.engine,
        file,
        read_answers(data, "answer.x12"),
        pl.DataFrame(schema=SENT_CLAIMS) if sent is None else sent,
    )


def rows(ledger: Ledger, table: str) -> pl.DataFrame:
    """Return a whole table."""
    with reading(ledger.engine) as connection:
        return query(connection, sa.select(CLAIM.metadata.tables[table]))


def states(ledger: Ledger) -> list[str]:
    """Return the states of the claims, by claim number."""
    return rows(ledger, "claim").sort("claim_number")["state"].to_list()


def balances(ledger: Ledger, claim_number: str | None) -> dict[str, Decimal]:
    """Sum up the accounts of a claim; None: of nobody's."""
    claims = rows(ledger, "claim").select("claim_number", claim_id="id")
    postings = rows(ledger, "posting").join(claims, on="claim_id", how="left")
    own = postings.filter(pl.col("claim_number").eq_missing(pl.lit(claim_number, pl.String)))
    sums = own.group_by("account").agg(pl.col("amount").sum()).sort("account")
    return {account: amount for account, amount in sums.rows() if amount}
