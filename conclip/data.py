"""Splits of a dataset and their text columns, checked."""

from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetGenerationError

from conclip.errors import UsageError, one_line
from conclip.training.arguments import DataArguments
from dataset_scripts.scenes import load_scenes


def load_split(arguments: DataArguments, split: str, max_samples: int | None) -> Dataset:
    """A split of the dataset the arguments name, or of the drawn scenes."""
    if arguments.dataset_name is None:
        dataset = load_scenes(split)
    else:
        try:
            dataset = load_dataset(arguments.dataset_name, arguments.dataset_config_name, split=split)
        # `datasets` reports a wrong path, configuration or split by many kinds of error; each says which.
        except Exception as error:
            # This one only says that something went wrong.
            told = error.__cause__ or error if isinstance(error, DatasetGenerationError) else error
            raise UsageError(f"--dataset_name {arguments.dataset_name}, split {split!r}: {one_line(told)}") from error
    if len(dataset) == 0:
        raise UsageError(f"--dataset_name {arguments.dataset_name}: the split {split!r} has no rows.")
    return dataset if max_samples is None else dataset.select(range(min(max_samples, len(dataset))))


def require_columns(dataset: Dataset, columns: dict[str, str], split: str) -> None:
    """
    Args:
        columns: argument name -> column name, e.g. {"--caption_column": "caption"}.
    """
    for argument, column in columns.items():
        if column not in dataset.column_names:
            raise UsageError(
                f"{argument} {column}: the split {split!r} has no such column, only {', '.join(dataset.column_names)}."
            )


def text_lists(dataset: Dataset, column: str, split: str, may_be_empty: bool = False) -> list[list[str]]:
    """
    The texts of a column as one list a row, whether the column holds a text or a list of texts.

    Raises:
        UsageError: a text that is missing, blank or no text, or (unless `may_be_empty`) a row without any.
    """
    values = dataset.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    rows = [value if isinstance(value, list) else [value] for value in values]
    for index, texts in enumerate(rows):
        if not texts and not may_be_empty:
            raise UsageError(f"Split {split!r}, row {index}: {column} is an empty list; it needs a caption.")
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise UsageError(f"Split {split!r}, row {index}: {column} holds {text!r}, not a caption.")
    return rows
