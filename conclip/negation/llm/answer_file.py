"""The file of answers: what a language model answered, so that no request is sent twice."""

import json
import os
import threading
from pathlib import Path

from conclip.atomic_write import reporting_write_errors


class AnswerFile:
    """Answers by key: a file of one JSON object a line, to which lines are only appended.

    What a stopped run left half written is passed over. Several processes may write to one file; each sees what was
    there when it began and what it wrote itself. In memory there is a key and a place for each answer, some 200 bytes.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._places: dict[bytes, int] = {}
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._read()

    def _read(self) -> None:
        place, line = 0, b"\n"
        with open(self.path, "rb") as file:
            for line in file:
                record = _parse(line)
                if record:
                    self._places[bytes.fromhex(record["key"])] = place
                place += len(line)
        if not line.endswith(b"\n"):
            # Or the next answer would be lost with the half of a line that it would end.
            os.write(self._file, b"\n")

    def get(self, key: str) -> str | None:
        """Return the answer stored under a key of 32 hexadecimal digits; None if there is none."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        with self._lock, open(self.path, "rb") as file:
            file.seek(place)
            record = _parse(file.readline())
        return record["answer"] if record and record["key"] == key else None

    def add(self, key: str, answer: str, **notes: str) -> None:
        """Append an answer; `notes` (model, prompt, caption) are for those who read the file."""
        line = (
            json.dumps({"key": key, **notes, "answer": answer}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        )
        with self._lock, reporting_write_errors(self.path, len(line)):
            left = line
            # A disk that is almost full takes a part, and refuses the rest in the next call.
            while left:
                left = left[os.write(self._file, left) :]
            # The file's position is where this line ends, whoever else wrote meanwhile.
            self._places[bytes.fromhex(key)] = os.lseek(self._file, 0, os.SEEK_CUR) - len(line)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _parse(line: bytes) -> dict | None:
    """Return the record of a line; None if it is no whole record."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
        return record if len(bytes.fromhex(record["key"])) == 16 and isinstance(record["answer"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
