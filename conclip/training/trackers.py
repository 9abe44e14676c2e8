"""A tracker for accelerate that needs no tracking service: it appends JSON lines to a file."""

import json
from pathlib import Path

from accelerate.tracking import GeneralTracker, on_main_process

from conclip.atomic_write import write_atomically


class JsonlTracker(GeneralTracker):
    """
    Write `metrics.jsonl`: one object {"step": int, name: number, ...} on each line.

    Args:
        path: the file.
    """

    name = "jsonl"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    @property
    def tracker(self):
        return self.path

    @on_main_process
    def start_at(self, step: int) -> None:
        """Remove the lines after `step`, which a resumed run writes again."""
        lines = self.path.read_text().splitlines() if step and self.path.is_file() else []
        earlier = [f"{line}\n" for line in lines if self._is_up_to(line, step)]
        write_atomically(self.path, "".join(earlier).encode())

    @staticmethod
    def _is_up_to(line: str, step: int) -> bool:
        try:
            return json.loads(line)["step"] <= step
        # A run that was killed may have left half a line.
        except ValueError:
            return False

    @on_main_process
    def store_init_configuration(self, values: dict) -> None:
        """Do nothing: results.json holds the settings."""

    @on_main_process
    def log(self, values: dict, step: int | None = None, **kwargs) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
