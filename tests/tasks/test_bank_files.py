"""Bank files: the three kinds, their dialects, and what is refused whole."""

from datetime import date
from decimal import Decimal

import pytest

from tasks.bank_files import UnreadableBankFile, read_bank_file

CSV = b"""date,amount,trace_number,company_id,description
2026-11-20,1234.56,9300012345,1512345678,PARTB HCCLAIMPMT
2026-11-21,-5.00,,,FEE
2026-11-23,7.00,,,CHEQUE
"""
BAI2 = b"""01,BANK,CLINIC,261121,0600,1,,,2/
02,CLINIC,BANK,1,261120,,USD,2/
03,3000200010,USD,010,123456,,/
16,165,123456,Z,9300012345,1512345678,PARTB HCCLAIMPMT
16,165,700,V,261119,,888,,TRN*1*9300012399*1512345678*99/
88,more words/
16,455,500,Z,1,2,FEE
49,248112,6/
98,248112,1,8/
99,248112,1,10/
"""


def _nacha(amount: str = "0000123456", total: str = "000000123456", addenda: bool = True) -> bytes:
    lines = [
        f"101 091000019 021000021{'261120'}0600A094101{'OUR BANK':23}{'A PAYER':23}{'':8}",
        f"5220{'PARTB':16}{'':20}1512345678CCD{'HCCLAIMPMT':10}{'':6}261120   1021000020000001",
        f"622091000019{'3000200010':17}{amount}{'':15}{'THE CLINIC':22}  {int(addenda)}021000020000001",
        *([f"705{'TRN*1*9300012345*1512345678~':80}00010000001"] if addenda else []),
        f"627091000019{'3000200010':17}0000009900{'':15}{'THE CLINIC':22}  0021000020000002",
        f"8220000003{'0009100001':10}{'9900':0>12}{total}1512345678{'':25}021000020000001",
        f"9000001000001000000030009100001{'9900':0>12}{total}{'':39}",
        "9" * 94,
    ]
    assert {len(line) for line in lines} == {94}
    return "\n".join(lines).encode()


def test_a_csv_gives_its_deposits_and_passes_debits_over() -> None:
    file = read_bank_file(CSV)
    assert file.kind == "csv"
    assert file.deposits.rows() == [
        (date(2026, 11, 20), Decimal("1234.56"), "9300012345", "1512345678", "PARTB HCCLAIMPMT"),
        (date(2026, 11, 23), Decimal("7.00"), None, None, "CHEQUE"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Posting Date;Credit;Details\n11/20/2026;$1,234.56;X TRN*1*9300012345*1512345678\\\n",
        "\ufeffDATE\tAMOUNT\tTRACE\tORIGINATOR\n20261120\t1234.56\t9300012345\t1512345678\r\n\r\n",
    ],
)
def test_banks_name_and_part_their_columns_as_they_like(text: str) -> None:
    (row,) = read_bank_file(text.encode()).deposits.rows()
    assert row[:4] == (date(2026, 11, 20), Decimal("1234.56"), "9300012345", "1512345678")


def test_a_bai2_report_gives_its_credits_with_continued_texts() -> None:
    file = read_bank_file(BAI2)
    assert file.kind == "bai2"
    assert [row[:4] for row in file.deposits.rows()] == [
        (date(2026, 11, 20), Decimal("1234.56"), "9300012345", "1512345678"),
        (date(2026, 11, 19), Decimal("7.00"), "9300012399", "1512345678"),
    ]


def test_a_nacha_file_gives_its_credits_with_the_trn_of_their_addenda() -> None:
    file = read_bank_file(_nacha())
    assert file.kind == "nacha"
    assert file.deposits.rows() == [
        (date(2026, 11, 20), Decimal("1234.56"), "9300012345", "1512345678", "PARTB")
    ]


def test_a_nacha_entry_without_addenda_keeps_the_company_of_its_batch() -> None:
    (row,) = read_bank_file(_nacha(addenda=False)).deposits.rows()
    assert row[2:4] == (None, "1512345678")


def test_a_control_total_that_does_not_agree_refuses_the_file_whole() -> None:
    with pytest.raises(UnreadableBankFile, match=r"control says 1234\.57 of credits"):
        read_bank_file(_nacha(total="000000123457"))
    with pytest.raises(UnreadableBankFile, match="BAI2"):
        read_bank_file(BAI2.replace(b"49,248112", b"49,248113"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\x00\xff garbage", "name the columns"),
        (b"date,amount\n2026-11-20,12.345\n", "Row 2: the amount"),
        (b"date,amount\nyesterday,12.34\n", "Row 2: the date"),
        (BAI2[:120], "BAI2"),
        (_nacha()[:300], "cut short"),
        (_nacha().replace(b"0000123456", b"00001234X6", 1), "Line 3"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(data: bytes, says: str) -> None:
    with pytest.raises(UnreadableBankFile, match=says):
        read_bank_file(data)
