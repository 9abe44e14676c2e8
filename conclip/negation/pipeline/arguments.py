"""Command-line arguments of `python -m conclip.negation`, under the names Hugging Face's own scripts use."""

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args, get_type_hints

from conclip.negation.grammar.rows import STRATEGIES
from conclip.negation.llm.language_model_arguments import LanguageModelArguments

# Below the folder that is written: what is needed until it is finished.
WORK = ".work"

# A product's foil comes along with it.
PRODUCT_CHOICES = ("false", "true", "hybrid", "swap")
MAKERS = ("grammar", "language_model")
# What a row depends on, besides the captions; the rest may change between a run and its continuation.
OF_THE_ROWS = (
    "dataset_split",
    "caption_column",
    "image_column",
    "image_dir",
    "image_id_column",
    "objects_column",
    "captions_per_row",
    "test_size",
    "maker",
    "strategy",
    "products",
    "seed",
    "tokenizer_name",
    "captions_per_shard",
    "distractor_mapping",
    "distractor_dir",
    "num_distractors",
)
# The same of the language model's own settings.
OF_THE_ANSWERS = (
    "model_name_or_path",
    "prompts_dir",
    "temperature",
    "max_new_tokens",
    "max_words_left_out",
    "grammar_fallback",
)


class NegateError(ValueError):
    """Bad input or a folder that cannot be used; the message is one sentence for the user."""


@dataclass(frozen=True)
class NegateArguments:
    """See `make_parser` for what each means."""

    dataset_name: str
    output_dir: str
    dataset_config_name: str | None = None
    dataset_split: tuple[str, ...] = ("train",)
    caption_column: str = "caption"
    image_column: str | None = None
    image_dir: str = ""
    image_id_column: str | None = None
    objects_column: str | None = None
    captions_per_row: int | None = None
    test_size: int = 0
    overwrite_output_dir: bool = False
    maker: str = "grammar"
    strategy: str = "random"
    products: tuple[str, ...] = PRODUCT_CHOICES
    seed: int = 0
    tokenizer_name: str | None = None
    num_proc: int = 1
    captions_per_shard: int = 10_240
    distractor_mapping: str | None = None
    distractor_dir: str | None = None
    num_distractors: int = 1
    language_model: LanguageModelArguments | None = None


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        # argparse prints the usage first and exits.
        raise NegateError(f"{message} (--help lists the options)")


def make_parser() -> Parser:
    parser = Parser(
        "python -m conclip.negation",
        description="Captions in, a folder of negations in CC-Neg's layout out",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--dataset_name", required=True, help="Hub id, folder, or a .csv, .json, .jsonl or .parquet file")
    add("--dataset_config_name", help="configuration of the dataset")
    add("--dataset_split", nargs="+", help="splits to read, each written under its name (default: train)")
    add("--caption_column", help="a text, or a list of texts that are all true of the image (default: caption)")
    add("--image_column", help="images or paths, embedded in the output (default: no images)")
    add("--image_dir", help="folder that paths in --image_column are relative to (default: the working directory)")
    add("--image_id_column", help="rows with the same value show the same image: their captions count for each other")
    add("--objects_column", help="names of objects in the image (text or list): these are never denied truly")
    add(
        "--captions_per_row",
        type=int,
        help="negate the first so many of a list of captions (default: all, a row each)",
    )
    add("--test_size", type=int, help="rows of a single split, at its end, that become the split test (default: 0)")
    add("--output_dir", required=True, help="folder to write; repeating the command goes on where it stopped")
    add("--overwrite_output_dir", action="store_true", help="start anew in a folder that this command wrote")
    add("--maker", choices=MAKERS, help="what makes the sentences (default: grammar)")
    add("--strategy", choices=STRATEGIES, help="what is negated (default: random, as in the paper)")
    add("--products", nargs="+", choices=PRODUCT_CHOICES, help="what is made of each caption (default: all)")
    add("--seed", type=int, help="of every draw (default: 0)")
    add("--tokenizer_name", help="folder or Hub id of a tokenizer: texts of over 77 tokens are left out")
    add("--num_proc", type=int, help="processes; the rows are the same whatever their number (default: 1)")
    add("--captions_per_shard", type=int, help="captions that make one Parquet file (default: 10240)")
    add("--distractor_mapping", help="table of look-alikes of the rows, .parquet of `conclip.distractors.command`")
    add("--distractor_dir", help="folder of the images that were searched, embedded as distractors")
    add("--num_distractors", type=int, help="of those in the table (default: 1, as in the paper)")
    group = parser.add_argument_group("--maker language_model")
    types = get_type_hints(LanguageModelArguments)
    for item in fields(LanguageModelArguments):
        kind = next(
            kind for kind in (bool, float, int, str) if kind in (types[item.name], *get_args(types[item.name]))
        )
        how = {"action": "store_true"} if kind is bool else {"type": kind}
        group.add_argument(f"--{item.name}", help=item.metadata["help"], **how)
    return parser


def parse_arguments(argv: list[str] | None = None) -> NegateArguments:
    """Raises `NegateError` for unknown options, bad values, and options that do not go together."""
    given = vars(make_parser().parse_args(argv))
    given |= {name: tuple(dict.fromkeys(given[name])) for name in ("dataset_split", "products") if name in given}
    asked = {item.name: given.pop(item.name) for item in fields(LanguageModelArguments) if item.name in given}
    if given.get("maker") == "language_model":
        given["language_model"] = language_model_arguments(asked, Path(given["output_dir"]))
    elif asked:
        raise NegateError(f"--{next(iter(asked))} is for --maker language_model.")
    arguments = NegateArguments(**given)
    least = {
        "captions_per_row": 1,
        "test_size": 0,
        "num_proc": 1,
        "captions_per_shard": 1,
        "seed": 0,
        "num_distractors": 1,
    }
    for name, value in least.items():
        if (number := getattr(arguments, name)) is not None and number < value:
            raise NegateError(f"--{name} must be {value} or more, got {number}.")
    if arguments.test_size and len(arguments.dataset_split) > 1:
        raise NegateError("--test_size cuts the test split off a single split: give one --dataset_split.")
    if arguments.image_dir and not arguments.image_column:
        raise NegateError("--image_dir needs --image_column: which column holds the paths?")
    if (arguments.distractor_mapping is None) != (arguments.distractor_dir is None):
        raise NegateError("--distractor_mapping and --distractor_dir go together: the table and the images it names.")
    if arguments.distractor_mapping and not arguments.image_column:
        raise NegateError("--distractor_mapping needs --image_column: distractors look like the images of the rows.")
    if Path(arguments.dataset_name).exists() and same(arguments.dataset_name, arguments.output_dir):
        raise NegateError(f"--output_dir {arguments.output_dir} is the dataset's folder: choose another.")
    return arguments


def language_model_arguments(given: dict, output: Path) -> LanguageModelArguments:
    """Answers are kept in the folder that is written, unless told otherwise, until it is finished."""
    if "model_name_or_path" not in given:
        raise NegateError("--maker language_model needs --model_name_or_path: which model is asked?")
    try:
        return LanguageModelArguments(**{"answers_file": str(output / WORK / "answers.jsonl"), **given})
    except ValueError as error:
        raise NegateError(f"--{error}") from error


def same(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()


def row_settings(arguments: NegateArguments) -> dict:
    """The settings that decide the rows, as JSON has them."""
    values = {item.name: getattr(arguments, item.name) for item in fields(arguments)}
    found = {name: list(value) if isinstance(value := values[name], tuple) else value for name in OF_THE_ROWS}
    if arguments.language_model:
        found |= {name: getattr(arguments.language_model, name) for name in OF_THE_ANSWERS}
    return found
