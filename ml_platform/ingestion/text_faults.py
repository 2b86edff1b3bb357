"""Why a file cannot be read as CSV, with its line: no text, rows of another length, open quotes."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

_BEGIN = 1 << 16
_SHOWN = 3
_LONGEST = 80
_CONTROLS = bytes([*range(9), 11, *range(14, 27), *range(28, 32), 127])
"""Bytes that no text has, in whatever encoding of one byte a letter."""
_NOT_WINDOWS = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])
_BINARY = "it is binary, no text: a spreadsheet or an archive must be exported as CSV first"


def require_text(path: Path) -> None:
    """Says that a file is binary before its bytes are taken for names of columns.

    Raises:
        OSError: It is, or it is text in UTF-16.
    """
    with pa.input_stream(path) as stream:
        begin = stream.read(_BEGIN)
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise OSError("it is UTF-16; save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8")
    if _is_binary(begin):
        raise OSError(_BINARY)


def _is_binary(begin: bytes) -> bool:
    """Whether bytes are no text: one of 0, or where they are not UTF-8, more than a few that no text has."""
    if b"\0" in begin:
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(begin)
    except UnicodeDecodeError:
        return 100 * sum(begin.count(c) for c in _CONTROLS) > len(begin)
    return False


def require_utf8(path: Path) -> None:
    """Says where a file that cannot be read is not UTF-8.

    Raises:
        OSError: It is not.
    """
    require_text(path)
    decoder, number = codecs.getincrementaldecoder("utf-8")(), 0
    with pa.input_stream(path) as stream:
        while block := stream.read(1 << 22):
            try:
                number += decoder.decode(block).count("\n")
            except UnicodeDecodeError as error:
                line = number + 1 + error.object[: error.start].count(b"\n")
                windows = not any(c in block for c in _NOT_WINDOWS)
                convert = "WINDOWS-1252" if windows else "ITS-ENCODING"
                raise OSError(
                    f"it is not UTF-8 (line {line}: {error.object[error.start : error.start + 1]!r}); "
                    f"save it as UTF-8, or convert it: iconv -f {convert} -t UTF-8"
                ) from error


def require_rows(path: Path, delimiter: str) -> None:
    """Says which lines of a file that cannot be read have another number of values than its header.

    Raises:
        OSError: There are such lines.
    """
    found = list(islice(_ragged(path, delimiter), _SHOWN + 1))
    if not found:
        return
    line, said = found[0]
    more = [str(n) for n, _ in found[1:_SHOWN]]
    others = f"; see line(s) {', '.join(more)}, too" if more else ""
    raise OSError(f"line {line} {said}{others}{', and more' if len(found) > _SHOWN else ''}")


def require_closed(path: Path, last: str) -> None:
    """Says that a quote in the last row is open: what it swallows is read as one value without an error.

    Args:
        path: A file that has been read.
        last: The last value of its last row.

    Raises:
        OSError: It is.
    """
    if "\n" not in last:
        return
    end, breaks = b"", 0
    with pa.input_stream(path) as stream:
        while block := stream.read(1 << 22):
            breaks += block.count(b"\n")
            end = (end + block)[-_BEGIN:]
    if end.rstrip().endswith(b'"'):
        return
    final = breaks + (not end.endswith(b"\n"))
    begin = final - last.rstrip("\r\n").count("\n")
    swallowed = f"so that all up to line {final} is one value"
    raise OSError(f"line {begin} opens a quote that is never closed, {swallowed}")


def _ragged(path: Path, delimiter: str) -> Iterator[tuple[int, str]]:
    """Lines that are not as long as the header, each with what is wrong with it."""
    with pa.input_stream(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        lines = _Lines(text)
        rows = csv.reader(lines, delimiter=delimiter)
        begin, wanted = 1, 0
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error:  # a field beyond all bounds: a quote that swallows the rest
                yield begin, _open_quote(lines.shown(), rows.line_num)
                return
            wanted = wanted or len(row)
            if row and len(row) != wanted:
                several = rows.line_num > begin
                shown = lines.shown()
                told = f"has {len(row)} values, the header has {wanted}: {shown}"
                yield begin, _open_quote(shown, rows.line_num) if several else told
            lines.forget()
            begin = rows.line_num + 1


def _open_quote(shown: str, last: int) -> str:
    return f"opens a quote that is not closed in it, so that all up to line {last} is one row: {shown}"


class _Lines:
    """Lines of a file, and the first one of the row that is being read."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self.text, self.first = text, ""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self.text)
        self.first = self.first or line
        return line

    def forget(self) -> None:
        self.first = ""

    def shown(self) -> str:
        """That line, shortened."""
        line = self.first.rstrip("\r\n")
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
