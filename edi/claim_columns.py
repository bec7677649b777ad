"""The columns of an 837P's frames, and what of a text the file can hold.

`edi.claim_837p` writes frames of these columns, `edi.claim_reader` reads them. Which of our own columns fills
them belongs to the caller.
"""

from typing import Final

import numpy as np
import polars as pl

from edi.envelope import UNFOLDED, fold

MONEY: Final = pl.Decimal(12, 2)
BASIC_SET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !\"&'()+,-./;?="
_TEXTS: Final = pl.List(pl.String)
_TEXTS_AT_A_TIME: Final = 50_000  # their bytes are read while they are near the processor
# One row per claim. The billing columns become one HL 20 for each different provider of a transaction set.
CLAIM_COLUMNS: Final[dict[str, pl.DataType]] = {
    "claim_number": pl.String(),  # CLM01
    "total_charge": MONEY,  # CLM02
    "place_of_service_code": pl.String(),  # CLM05-1
    "frequency_code": pl.String(),  # CLM05-3
    "assignment_code": pl.String(),  # CLM07
    "benefits_assignment_code": pl.String(),  # CLM08
    "release_code": pl.String(),  # CLM09
    "payer_claim_control_number": pl.String(),  # REF*F8, may be null
    "medical_record_number": pl.String(),  # REF*EA, may be null
    "diagnosis_codes": _TEXTS,  # HI, the first as ABK
    "billing_npi": pl.String(),  # 2010AA NM109
    "billing_name": pl.String(),
    "billing_tax_id": pl.String(),  # REF*EI
    "billing_taxonomy_code": pl.String(),  # 2000A PRV03, may be null
    "billing_address_line": pl.String(),
    "billing_city": pl.String(),
    "billing_state": pl.String(),
    "billing_postal_code": pl.String(),
    "subscriber_last_name": pl.String(),  # 2010BA NM103
    "subscriber_first_name": pl.String(),
    "subscriber_middle_name": pl.String(),  # NM105, may be null
    "member_id": pl.String(),  # 2010BA NM109
    "subscriber_address_line": pl.String(),
    "subscriber_city": pl.String(),
    "subscriber_state": pl.String(),
    "subscriber_postal_code": pl.String(),
    "subscriber_birth_date": pl.Date(),  # DMG02
    "subscriber_sex": pl.String(),  # DMG03
    "claim_filing_code": pl.String(),  # SBR09
    "payer_name": pl.String(),  # 2010BB NM103
    "payer_id": pl.String(),  # 2010BB NM109
    "rendering_npi": pl.String(),  # 2310B NM109; null when the billing provider renders
    "rendering_last_name": pl.String(),
    "rendering_first_name": pl.String(),
    "rendering_taxonomy_code": pl.String(),  # 2310B PRV03, may be null
}
LINE_COLUMNS: Final[dict[str, pl.DataType]] = {
    "claim_number": pl.String(),
    "line_number": pl.Int64(),  # the order of LX01
    "code": pl.String(),  # SV101-2
    "modifiers": _TEXTS,  # SV101-3 to 6
    "charge": MONEY,  # SV102
    "units": pl.Int64(),  # SV104
    "date_of_service": pl.Date(),  # DTP*472
    "line_control_number": pl.String(),  # REF*6R, may be null
    "diagnosis_pointers": pl.List(pl.Int64()),  # SV107
}
LONGEST: Final = {
    "billing_name": 60,
    "billing_address_line": 55,
    "billing_city": 30,
    "subscriber_last_name": 60,
    "subscriber_first_name": 35,
    "subscriber_middle_name": 25,
    "subscriber_address_line": 55,
    "subscriber_city": 30,
    "payer_name": 60,
    "rendering_last_name": 60,
    "rendering_first_name": 35,
}


def as_written(frame: pl.DataFrame) -> pl.DataFrame:
    """Make of claims or lines what a file will say: text folded and cut, empty text null, empty lists empty.

    Reading a written file back gives these values.
    """
    columns = []
    for name, kind in frame.schema.items():
        column = frame[name]
        if kind == pl.String:
            longest = LONGEST.get(name)
            column = column if _is_written(column, longest) else _cut(_folded(column), longest)
        elif kind == _TEXTS:
            column = _folded_lists(column)
        elif kind == pl.List:
            column = _without_nulls(column)
        columns.append(column)
    return pl.DataFrame(columns)


def says_one(column: pl.Series) -> bool:
    """Tell whether all rows say the same, as the payer and the codes of a file nearly always do."""
    if column.is_empty() or column.null_count() or column[0] != column[-1]:
        return False
    return bool((column == column[0]).all())


def _folded(text: pl.Series) -> pl.Series:
    """Fold a column; rows are looked at one by one only in a column that capitals alone do not mend."""
    capitals = text.str.to_uppercase()
    if _is_written(capitals):
        return capitals
    changed = capitals.str.contains(UNFOLDED).fill_null(value=False)
    folded = text.filter(changed).to_frame("text").select(fold(pl.col("text")))["text"]
    return capitals.scatter(changed.arg_true(), folded)


def _is_written(text: pl.Series, longest: int | None = None) -> bool:
    """Tell whether folding and cutting would leave all of a column as it is."""
    text = text.head(1) if says_one(text) else text
    starts = range(0, len(text), _TEXTS_AT_A_TIME)
    return all(_are_written(text.slice(start, _TEXTS_AT_A_TIME), longest) for start in starts)


def _are_written(text: pl.Series, longest: int | None) -> bool:
    """Tell it of some texts from their bytes alone, without a look at each text."""
    if text.null_count() == len(text):
        return True
    arrow = text.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = arrow.buffers()
    bounds = np.frombuffer(offsets, np.int64)[arrow.offset : arrow.offset + len(arrow) + 1]
    length = np.diff(bounds)
    has_empty = np.count_nonzero(length) + text.null_count() < len(text)
    if data is None or has_empty or (longest is not None and length.max() > longest):
        return False
    whole = bytes(data)
    if whole.translate(None, BASIC_SET):
        return False
    if b" " not in whole:
        return True
    is_space = np.frombuffer(whole, np.uint8) == ord(" ")
    # Where a null stands, a letter of its neighbours is looked at, which must not be a space either.
    first, last = (is_space.take(bound, mode="clip") for bound in (bounds[:-1], bounds[1:] - 1))
    return not (first.any() or last.any() or (is_space[1:] & is_space[:-1]).any())


def _folded_lists(lists: pl.Series) -> pl.Series:
    values = lists.explode().drop_nulls()
    if not _is_written(values):
        is_text = pl.element().str.len_bytes() > 0
        lists = lists.list.eval(fold(pl.element())).list.eval(pl.element().filter(is_text))
    return _without_nulls(lists)


def _without_nulls(lists: pl.Series) -> pl.Series:
    """Drop nulls from the lists, where there are any, and make of a null an empty list."""
    empty_count = int((lists.list.len() == 0).sum()) + lists.null_count()
    if lists.explode().null_count() > empty_count:
        lists = lists.list.drop_nulls()
    return lists.fill_null([])


def _cut(text: pl.Series, longest: int | None) -> pl.Series:
    """Cut to the length of the element, and make what is empty null."""
    length = text.str.len_bytes()
    if longest is not None and (length > longest).any():
        text = text.str.slice(0, longest).str.strip_chars_end(" ")
    return text.set(length == 0, None) if (length == 0).any() else text
