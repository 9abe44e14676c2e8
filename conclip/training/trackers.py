"""A tracker that appends one JSON object a line, for people without a tracking service."""

import json
import os
from pathlib import Path

from accelerate.tracking import GeneralTracker, on_main_process


class JsonlTracker(GeneralTracker):
    """
    Writes `metrics.jsonl`: {"step": int, name: number, ...} a line.

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
        """Keeps the lines up to `step`: a resumed run repeats what came after its checkpoint."""
        lines = self.path.read_text().splitlines() if step and self.path.is_file() else []
        kept = [line for line in lines if self._is_kept(line, step)]
        unfinished = self.path.with_name(f"unfinished-{self.path.name}")
        unfinished.write_text("".join(f"{line}\n" for line in kept))
        os.replace(unfinished, self.path)

    @staticmethod
    def _is_kept(line: str, step: int) -> bool:
        try:
            return json.loads(line)["step"] <= step
        # A run that was killed may have left half a line.
        except ValueError:
            return False

    @on_main_process
    def store_init_configuration(self, values: dict) -> None:
        """The arguments stand in results.json."""

    @on_main_process
    def log(self, values: dict, step: int | None = None, **kwargs) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
