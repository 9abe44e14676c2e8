"""The images of distractors, by the table that `conclip distractors` writes."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from conclip.data import image_files
from conclip.errors import UsageError, one_line


class DistractorImages:
    """
    The first distractors of each row of the source, by the table that `conclip distractors` writes.

    Args:
        mapping: the table, .parquet.
        folder: the images that were searched.
        num_distractors: images for each row.
        num_rows: rows of the source.

    Raises:
        UsageError: the table cannot be read, is of other rows, or names images that the folder does not have.
    """

    def __init__(self, mapping: str, folder: str, num_distractors: int, num_rows: int):
        if not Path(mapping).is_file():
            raise UsageError(f"--distractor_mapping {mapping}: there is no such file.")
        try:
            indices = pq.read_table(mapping, columns=["distractor_indices"])["distractor_indices"].combine_chunks()
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"--distractor_mapping {mapping} cannot be read: {one_line(error)}") from error
        if not pa.types.is_integer(getattr(indices.type, "value_type", indices.type)) or not pa.types.is_nested(
            indices.type
        ):
            raise UsageError(
                f"--distractor_mapping {mapping}: distractor_indices holds {indices.type}, not lists of integers: "
                "name the table that `conclip distractors` wrote."
            )
        if len(indices) != num_rows:
            raise UsageError(
                f"--distractor_mapping {mapping} has {len(indices):,} rows, the dataset {num_rows:,}: repeat `conclip "
                "distractors` with the images of this dataset."
            )
        # The embeddings that were searched are in the same order.
        self.paths = image_files(Path(folder))
        self.indices, self.num_distractors = indices, num_distractors
        for row, chosen in enumerate(indices.to_pylist()):
            if not chosen or len(chosen) < num_distractors or None in chosen:
                raise UsageError(
                    f"--distractor_mapping {mapping}, row {row}: distractor_indices holds {chosen}, but "
                    f"--num_distractors {num_distractors} needs as many numbers: repeat `conclip distractors`."
                )
            wrong = next((index for index in chosen if not 0 <= index < len(self.paths)), None)
            if wrong is not None:
                raise UsageError(
                    f"--distractor_mapping {mapping} names image {wrong:,}, but --distractor_dir {folder} holds "
                    f"{len(self.paths):,}: it has to be the folder that was embedded."
                )

    def images(self, rows: Sequence[int]) -> list[list[dict]]:
        """Return the encoded images of each row, {"bytes", "path"}."""
        return [[self._read(index) for index in self.indices[row].as_py()[: self.num_distractors]] for row in rows]

    def _read(self, index: int) -> dict:
        path = self.paths[index]
        try:
            return {"bytes": path.read_bytes(), "path": path.name}
        except OSError as error:
            raise UsageError(f"the distractor {path} cannot be read ({error.strerror}): put it back.") from error
