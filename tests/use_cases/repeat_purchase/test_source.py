"""The file: what is in it, and what a damaged one gets."""

from pathlib import Path

import pandas as pd
import pytest

from ml_platform.errors import FeedError
from ml_platform.use_cases.repeat_purchase.source import data_file, read_source

HEAD = " customer_id  date number_of_cds  dollar_value\r\n"


def test_the_file_is_what_the_readme_says(raw: pd.DataFrame) -> None:
    assert len(raw) == 69_659 and raw["customer_id"].nunique() == 23_570
    purchase = ["customer_id", "purchased_on", "cds", "value_usd"]
    assert raw.duplicated(purchase).sum() == 255
    assert raw.duplicated(["customer_id", "purchased_on"]).sum() == 2_068
    assert raw["line_number"].is_unique
    first = raw.groupby("customer_id")["day"].min()
    assert (str(first.min().date()), str(first.max().date())) == ("1997-01-01", "1997-03-25")
    assert str(raw["day"].max().date()) == "1998-06-30"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "header"),
        ("a b c d\n", "header"),
        (HEAD + " 00001 19970101 1\r\n", "line 2"),
        (HEAD + " 00001 19970101 1 11.77\r\n 00002 19971301 1 2.00\r\n", "line 3"),
        (HEAD + " 00001 19970101 one 11.77\r\n", "line 2"),
        (HEAD + " 00001 19970101 1 11.77 é\r\n", "cannot be read"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "CDNOW_master.txt"
    file.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(FeedError, match=told):
        read_source(file)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=r"gone\.txt is missing"):
        data_file({"path": str(tmp_path / "gone.txt")})


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "few.txt"
    file.write_text(HEAD + " 00001 19970101 1 11.77\r\n")
    assert read_source(file).num_rows == 1
    file.write_text(HEAD + " 00001 19970101 1 11.77\r\n 00002 19970102 2 9.00\r\n")
    assert read_source(file).num_rows == 2
