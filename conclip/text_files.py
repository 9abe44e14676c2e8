"""Text files of datasets (CSV, JSON, plain text): their encoding, and the options to read them as they are."""

import codecs
import csv
from pathlib import Path

from conclip.errors import UsageError

# UTF-32 first: its mark begins with that of UTF-16.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


def text_options(format: str, files: list[Path]) -> dict:
    """
    Return what `load_dataset` needs to read text files as they are.

    Args:
        format: "csv", "json" or "text"; other formats need nothing.

    Raises:
        UsageError: a file is in an encoding that cannot be read, or two columns of a CSV file have one name.
    """
    from datasets import Features, Value

    encodings = {file: text_encoding(file) for file in files} if format in ("csv", "json", "text") else {}
    for file, encoding in encodings.items():
        if format == "json" and not encoding.startswith("utf-8"):
            raise UsageError(f"--dataset_name {file} is in {encoding}: {conversion(file, encoding)}")
    if format == "text" and files:
        return {"encoding": encodings[files[0]]}
    if format != "csv" or not files:
        return {}
    import pandas

    encoding = encodings[files[0]]
    with files[0].open(encoding=encoding, newline="") as file:
        separator = max(",;\t", key=file.readline().count)
        file.seek(0)
        rows = csv.reader(file, delimiter=separator)
        header, first = next(rows, []), next(rows, [])
    repeated = next((name for name in header if header.count(name) > 1), None)
    if repeated is not None:
        # pandas would rename the second.
        raise UsageError(f"--dataset_name {files[0]}: two columns have the name {repeated!r}; rename one.")
    if len(first) > len(header):
        # pandas would take the first column for row numbers and shift the others.
        raise UsageError(
            f"--dataset_name {files[0]}: the first row has {len(first)} fields, but there are {len(header)} columns; "
            f"put texts that contain {separator!r} in double quotes."
        )
    options = {"sep": separator, "encoding": encoding}
    names = pandas.read_csv(files[0], nrows=0, **options).columns
    # pandas takes "N/A", "null" and others for missing values otherwise, and "007" for a number.
    return {**options, "keep_default_na": False, "features": Features({name: Value("string") for name in names})}


def text_encoding(path: Path) -> str:
    """
    Return the encoding of a text file: UTF-8, or what its byte order mark says.

    Raises:
        UsageError: it is neither; another encoding could only be guessed.
    """
    with path.open("rb") as file:
        start = file.read(4)
        encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
        if encoding:
            return encoding
        file.seek(0)
        for number, line in enumerate(file, start=1):
            if b"\0" in line:
                raise UsageError(
                    f"--dataset_name {path}, line {number}: a zero byte, as in UTF-16 without a byte order mark; "
                    f"{conversion(path, 'utf-16le')}"
                )
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UsageError(
                    f"--dataset_name {path}, line {number}: the byte 0x{line[error.start]:02x} is not UTF-8; "
                    f"{conversion(path, 'cp1252')} (cp1252 is the encoding of Windows in western languages)."
                ) from error
    return "utf-8"


def conversion(path: Path, encoding: str) -> str:
    """Return how to convert a file to UTF-8."""
    return f"convert it: iconv -f {encoding} -t utf-8 {path.name} > {path.stem}-utf8{path.suffix}"
