"""Bank files: the three kinds, their dialects, and what is refused whole."""

from datetime import date
from decimal import Decimal

import pytest

from tasks.bank_entries import UnreadableBankFile
from tasks.bank_files import read_bank_file

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


def test_a_nacha_file_without_line_breaks_is_read_by_its_record_length() -> None:
    assert read_bank_file(_nacha().replace(b"\n", b"")).deposits.equals(read_bank_file(_nacha()).deposits)


def test_the_trn_may_stand_in_any_addenda_of_an_entry_and_over_two() -> None:
    first = b"705" + b"TRN*1*9300012345*1512345678~".ljust(80) + b"00010000001"
    for texts in (
        (b"RMR*IV*1\\", b"TRN*1*9300012345*1512345678~"),
        (b"X" * 70 + b"TRN*1*9300", b"012345*1512345678~"),
    ):
        records = [
            b"705" + text.ljust(80) + f"{place:04}0000001".encode() for place, text in enumerate(texts, 1)
        ]
        (row,) = read_bank_file(_nacha().replace(first, b"\n".join(records))).deposits.rows()
        assert row[2:4] == ("9300012345", "1512345678")


def test_a_bank_file_that_holds_several_is_read_to_its_end() -> None:
    second = _nacha().replace(b"TRN*1*9300012345", b"TRN*1*9300012346")
    traces = ["9300012345", "9300012346"]
    assert read_bank_file(_nacha() + b"\r\n" + second).deposits["trace_number"].to_list() == traces
    assert (
        read_bank_file((_nacha() + second).replace(b"\n", b"")).deposits["trace_number"].to_list() == traces
    )
    assert read_bank_file(BAI2 + b"\n" + BAI2).deposits.height == 4
    assert read_bank_file(BAI2 + b"\n\n\x1a").deposits.height == 2


def test_a_debit_with_a_trn_takes_money_back_and_others_are_passed_over() -> None:
    debit = b"627091000019" + b"3000200010".ljust(17) + b"0000009900" + b" " * 15 + b"THE CLINIC".ljust(22)
    debit += b"  0021000020000002"
    addenda = b"\n705" + b"TRN*1*9300012345*1512345678~".ljust(80) + b"00010000002"
    nacha = read_bank_file(_nacha().replace(debit, debit + addenda)).deposits
    bai2 = read_bank_file(
        BAI2.replace(b"16,455,500,Z,1,2,FEE", b"16,455,500,Z,1,2,TRN*1*93*1512345678~")
    ).deposits
    csv = read_bank_file(
        b"date,credit,debit,reference,details\n"
        b"2026-11-20,,5.00,88,FEE\n2026-11-23,,7.00,89,RETURN TRN*1*93*1512345678\\\n"
    ).deposits
    assert nacha["amount"].to_list() == [Decimal("1234.56"), Decimal("-99.00")]
    assert bai2.rows()[-1][1:4] == (Decimal("-5.00"), "93", "1512345678")
    assert [row[1:4] for row in csv.rows()] == [(Decimal("-7.00"), "93", "1512345678")]


def test_a_trn_that_a_bai2_continuation_cuts_is_read_whole() -> None:
    cut = BAI2.replace(
        b"TRN*1*9300012399*1512345678*99/\n88,more words/", b"PAID TRN*1*93000\n88,12399*1512345678\\"
    )
    assert read_bank_file(cut).deposits.rows()[1][2:4] == ("9300012399", "1512345678")


@pytest.mark.parametrize(("code", "is_credit"), [(b"942", True), (b"975", False), (b"905", False)])
def test_the_codes_a_bank_makes_itself_are_read_as_bai2_divides_them(code: bytes, is_credit: bool) -> None:
    deposits = read_bank_file(BAI2.replace(b"16,165,123456", b"16," + code + b",123456")).deposits
    assert deposits.height == 1 + is_credit


@pytest.mark.parametrize("text", ["1,234.56", "$1,234.56", "1234.560", "+1234.56"])
def test_a_comma_in_an_amount_parts_thousands(text: str) -> None:
    (row,) = read_bank_file(f'date;amount\n2026-11-20;"{text}"\n'.encode()).deposits.rows()
    assert row[1] == Decimal("1234.56")


@pytest.mark.parametrize(
    "text", ["39,20", "1.234,56", "1,23", "12,34.00", "1234,567", ",123", "-", "1e3", "5.00-"]
)
def test_an_amount_written_otherwise_is_refused_with_its_row_and_column(text: str) -> None:
    with pytest.raises(
        UnreadableBankFile, match="Row 3: the amount in column Credit is not dollars and cents"
    ):
        read_bank_file(f"date;Credit\n2026-11-19;1.00\n2026-11-20;{text}\n".encode())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\x00\xff garbage", "name the columns"),
        (b"date,amount\n2026-11-20,12.345\n", "Row 2: the amount"),
        (b"date,amount\nyesterday,12.34\n", "Row 2: the date"),
        (BAI2[:120], "BAI2"),
        (b"date,amount\n2026-11-20,10000000000.00\n", "Row 2: the amount is more than the ledger holds"),
        (b"date,amount\n2026-11-20," + b"9" * 60 + b"\n", "Row 2: the amount is more than the ledger holds"),
        (b"date,amount\n2026-11-20,1.00\n1," + b"x" * 200_000, "Row 3: this is no CSV"),
        (b"date,amount\n2026-11-20,1.00\0\n2026-11-20,1.00\n", "no text"),
        (BAI2 + b"16,165,1,Z,1,2,X", "follows the end of one"),
        (BAI2 + BAI2[:150], "cut or damaged"),
        (BAI2[: BAI2.index(b"49,")], "cut or damaged"),
        (BAI2.replace(b"1,261120,,USD", b"1,,,USD").replace(b"V,261119,,", b"Z,,"), "the date"),
        (_nacha() + b"\n" + _nacha()[95:], "Line 9: this follows the end"),
        (_nacha() + b"\n" + _nacha()[:300], "cut short"),
        (_nacha().replace(b"\n9000001", b"\n" + _nacha()[:94] + b"\n9000001"), "Line 7: no such record"),
        (_nacha().replace(b"0000009900", b"0000009901", 1), "of debits"),
        (_nacha()[:300], "cut short"),
        (_nacha().replace(b"0000123456", b"00001234X6", 1), "Line 3"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(data: bytes, says: str) -> None:
    with pytest.raises(UnreadableBankFile, match=says):
        read_bank_file(data)
