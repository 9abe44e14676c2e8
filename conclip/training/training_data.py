"""The rows that `conclip train` reads: those to train on, whole or as a stream, and those to evaluate on."""

from pathlib import Path

import numpy as np
from accelerate import Accelerator
from datasets import Dataset, IterableDataset, Value

from conclip.data import data_folder, files_of_pattern, first_rows, load_split, load_stream, split_names
from conclip.embedding.embedding_files import numbers_of_names, read_embeddings, read_parts
from conclip.embedding.embedding_stream import numbered_stream
from conclip.embedding.image_files import as_image_column, with_full_paths
from conclip.embedding.images import embedding_cache_dir, image_keys
from conclip.errors import UsageError
from conclip.negation.plain_captions import plain_captions
from conclip.stream import features_of, first_stream_rows
from conclip.training.arguments import DISTILLATION, PLAIN_CAPTIONS, ConCLIPTrainingArguments, DataArguments
from conclip.training.pair_rows import columns_of, open_image_column
from conclip.training.splits import MOST_HELD_OUT, default_eval_split, first_caption_keys, hold_out
from dataset_scripts import scenes


def load(
    data_args: DataArguments, training_args: ConCLIPTrainingArguments, accelerator: Accelerator
) -> tuple[Dataset, Dataset | None, str]:
    """
    Load the rows to train and evaluate on.

    Returns:
        The training rows; the rows to evaluate on, `None` without an evaluation; and the name of their split.
    """
    name = data_args.dataset_name or default_dataset(training_args)
    train_split, eval_split = data_args.train_split, data_args.eval_split
    with accelerator.main_process_first():
        train_dataset, eval_dataset = load_rows(data_args, training_args, train_split), None
        if eval_split is None:
            # The captions that ship with the package are one split.
            own = ["train"] if training_args.loss == DISTILLATION else ["train", "test"]
            names = split_names(name, data_args.dataset_config_name) if data_args.dataset_name else own
            eval_split = default_eval_split(names, train_split)
            if eval_split not in ("test", None):
                accelerator.print(f"{name} has no split 'test': evaluating on {eval_split!r}.")
        if eval_split not in ("none", None):
            eval_dataset = load_rows(data_args, training_args, eval_split)
    if eval_split is None:
        columns = columns_of(training_args)
        if training_args.loss == DISTILLATION and columns["image_column"] not in train_dataset.column_names:
            keys, what = first_caption_keys(train_dataset, training_args.caption_column, train_split), "captions"
        else:
            images = open_image_column(train_dataset, training_args, columns, train_split)
            keys = image_keys(images, embedding_cache_dir(training_args.embedding_cache_dir), accelerator)
            what = "images"
        train_dataset, eval_dataset, note = hold_out(train_dataset, keys, training_args.seed, what)
        eval_split = "held-out"
        accelerator.print(f"{name} has no split to evaluate on: {note}; --eval_split none trains on all rows.")
    if eval_dataset is not None:
        eval_dataset = first_rows(eval_dataset, data_args.max_eval_samples)
    return first_rows(train_dataset, data_args.max_train_samples), eval_dataset, eval_split


def load_streams(
    data_args: DataArguments, training_args: ConCLIPTrainingArguments, accelerator: Accelerator
) -> tuple[IterableDataset, Dataset | None, str]:
    """
    Open the training rows as a stream, and read the rows to evaluate on into memory.

    Returns:
        As `load`.
    """
    name, eval_split = data_args.dataset_name, data_args.eval_split
    train_dataset, eval_dataset = open_stream(data_args, training_args, data_args.train_split), None
    if eval_split is None:
        names = split_names(name, data_args.dataset_config_name, streaming=True)
        eval_split = default_eval_split(names, data_args.train_split) or "none"
        if eval_split == "none":
            accelerator.print(
                f"{name} has no split 'test' or 'validation', and nothing is held out of a stream, so there is no "
                "evaluation; --eval_split names a split for it."
            )
        elif eval_split != "test":
            accelerator.print(f"{name} has no split 'test': evaluating on {eval_split!r}.")
    if eval_split != "none":
        count = data_args.max_eval_samples or MOST_HELD_OUT
        eval_dataset = first_stream_rows(open_stream(data_args, training_args, eval_split), count)
        accelerator.print(f"Evaluating on the first {len(eval_dataset):,} rows of the split {eval_split!r}.")
    return train_dataset, eval_dataset, eval_split


def open_stream(data_args: DataArguments, training_args: ConCLIPTrainingArguments, split: str) -> IterableDataset:
    """
    Open a split of the dataset as a stream; paths of images become paths from the working directory.

    With --image_embeds_file, rows without numbers are numbered, see `numbered_stream`.

    Raises:
        UsageError: the dataset cannot be opened, or it is not known which row has which embedding.
    """
    name, file, column = data_args.dataset_name, training_args.image_embeds_file, training_args.image_embeds_column
    dataset = load_stream(name, data_args.dataset_config_name, split)
    if file and column not in (kinds := features_of(dataset)):
        if "source_row" in kinds:
            raise UsageError("--streaming: add --image_embeds_column source_row, the column with the rows' numbers.")
        path = Path(name)
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else files_of_pattern(name) or [path]
        if split != data_args.train_split or any(one.suffix != ".parquet" for one in files):
            raise UsageError(
                f"--image_embeds_file {file}: of the split {split!r}, a stream cannot tell which row has which "
                "embedding: name a column with the row numbers by --image_embeds_column."
            )
        return numbered_stream(files, Path(file), column, split)
    if column is not None:
        return dataset
    columns = (training_args.image_column, training_args.distractor_image_column)
    return with_full_paths(dataset, columns, data_args.image_dir or data_folder(data_args.dataset_name))


def load_rows(data_args: DataArguments, training_args: ConCLIPTrainingArguments, split: str) -> Dataset:
    """
    Load a split of the dataset; paths of images become images.

    If no dataset is named, load the scenes or, to train on texts alone, the captions that ship with the package.
    """
    if not data_args.dataset_name and training_args.loss == DISTILLATION:
        return Dataset.from_dict({training_args.caption_column: plain_captions()})
    if not data_args.dataset_name:
        return scenes.load_scenes(split)
    dataset = load_split(data_args.dataset_name, data_args.dataset_config_name, split)
    if training_args.image_embeds_column is not None:
        return with_embeddings(dataset, training_args, split, data_args.train_split)
    if training_args.image_column not in dataset.column_names and "source_caption" in dataset.column_names:
        raise UsageError(
            f"--dataset_name {data_args.dataset_name} holds texts alone: repeat `conclip negate` with --image_column, "
            "which puts the images into the folder."
        )
    texts = (training_args.caption_column, training_args.negated_caption_column)
    for column in (training_args.image_column, training_args.distractor_image_column):
        if column in dataset.column_names and column not in texts:
            dataset = as_image_column(dataset, column, data_args.image_dir or data_folder(data_args.dataset_name))
    return dataset


def with_embeddings(
    dataset: Dataset, training_args: ConCLIPTrainingArguments, split: str, train_split: str
) -> Dataset:
    """
    Return rows with the numbers of their embeddings in --image_embeds_file, unless they have them.

    Raises:
        UsageError: the file lacks an image, or has another number of rows than the split.
    """
    file, column = training_args.image_embeds_file, training_args.image_embeds_column
    if not file or column in dataset.column_names:
        return dataset
    names = None if Path(file).is_dir() else read_embeddings(Path(file)).names
    if names and dataset.features.get(training_args.image_column) == Value("string"):
        of_rows = dataset[training_args.image_column][:]
        return dataset.add_column(column, numbers_of_names(of_rows, names, f"Split {split!r}", file))
    if "source_row" in dataset.column_names:
        return dataset.add_column(column, dataset.with_format("numpy")["source_row"][:])
    if split != train_split:
        raise UsageError(
            f"The rows of --image_embeds_file {file} belong to those of the split {train_split!r}: for the split "
            f"{split!r}, name a column of the dataset with their numbers by --image_embeds_column, or use "
            "--eval_split none."
        )
    found = sum(map(len, read_parts(Path(file))))
    if found != len(dataset):
        raise UsageError(
            f"--image_embeds_file {file} has {found:,} rows, but the split {split!r} has {len(dataset):,}: it needs "
            "an embedding for each row in the same order, or name a column of row numbers with --image_embeds_column."
        )
    return dataset.add_column(column, np.arange(found))


def default_dataset(training_args: ConCLIPTrainingArguments) -> str:
    """Return the name of what is trained on if no dataset is named."""
    return PLAIN_CAPTIONS if training_args.loss == DISTILLATION else "scenes"
