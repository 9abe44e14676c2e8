"""Distractor images of rows, by the table that `python -m conclip.distractors.command` writes."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from conclip.data import IMAGE_SUFFIXES
from conclip.negation.pipeline.arguments import NegateArguments, NegateError


class LookAlikes:
    """The first `num_distractors` of each row of the source, as files of `distractor_dir`.

    Raises `NegateError`: the table cannot be read, is of other rows, or names images that the folder does not have.
    """

    def __init__(self, arguments: NegateArguments, num_rows: int):
        table = arguments.distractor_mapping
        try:
            indices = pq.read_table(table, columns=["distractor_indices"])["distractor_indices"].combine_chunks()
        except (OSError, pa.ArrowException) as error:
            raise NegateError(f"--distractor_mapping {table} cannot be read: {str(error).splitlines()[0]}") from error
        if len(indices) != num_rows:
            raise NegateError(f"--distractor_mapping {table} has {len(indices):,} rows, the dataset {num_rows:,}.")
        folder = Path(arguments.distractor_dir)
        # In the order of the embeddings that were searched: by name.
        self.paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        self.indices, self.num = indices, arguments.num_distractors
        highest = max(indices.flatten().to_pylist(), default=-1)
        if highest >= len(self.paths):
            raise NegateError(
                f"--distractor_mapping {table} names image {highest:,}, but --distractor_dir {folder} holds "
                f"{len(self.paths):,}: it has to be the folder that was embedded."
            )

    def images(self, rows: Sequence[int]) -> list[list[dict]]:
        """Of each row the encoded images, {"bytes", "path"}."""
        return [[self._read(index) for index in self.indices[row].as_py()[: self.num]] for row in rows]

    def _read(self, index: int) -> dict:
        path = self.paths[index]
        try:
            return {"bytes": path.read_bytes(), "path": path.name}
        except OSError as error:
            raise NegateError(f"the distractor {path} cannot be read ({error.strerror}).") from error
