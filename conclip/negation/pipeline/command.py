"""The command `conclip negate`: captions in, a folder of negations in the layout of CC-Neg out."""

import importlib.util
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from conclip.atomic_write import reporting_write_errors
from conclip.cli import Parser, option
from conclip.errors import UsageError
from conclip.folder_lock import in_use
from conclip.model_folders import is_missing, why_not_loaded
from conclip.negation.rows import NEGATION_TYPE_CHOICES, STRATEGIES
from conclip.runtime import run_command

GENERATORS = ("grammar", "language_model")


@dataclass
class CaptionArguments:
    dataset_name: str = option(help="Hub id, folder, or a .csv, .tsv, .json, .jsonl, .parquet or .txt file")
    dataset_config_name: str | None = option(None, "configuration (subset) of the dataset")
    split: list[str] = option(["train"], "splits to read; the output keeps their names")
    caption_column: str = option(
        "caption", "column with the captions: a text, or a list of texts that are all true of the image"
    )
    image_column: str | None = option(
        None, "column with images, or their paths, URLs or bytes, embedded in the output; omit for text-only output"
    )
    image_dir: str = option(
        "", "folder that the paths in --image_column are relative to; by default, that of the dataset"
    )
    image_id_column: str | None = option(
        None,
        "column that names the image of a row: rows with the same value share their captions; by default, "
        "--image_column if it holds paths or URLs",
    )
    objects_column: str | None = option(
        None, "column with objects known to be in the image (a text or a list); never used as absent objects"
    )
    captions_per_row: int | None = option(
        None, "use at most so many captions of each input row; by default all, each gives a row", at_least=1
    )
    test_size: int = option(0, "rows at the end of the single split that become the split test", at_least=0)


@dataclass
class NegationArguments:
    generator: str = option("grammar", "what writes the sentences", choices=GENERATORS)
    strategy: str = option(
        "random", "what to negate; random chooses for each caption, as in the paper", choices=STRATEGIES
    )
    negation_types: list[str] = option(
        list(NEGATION_TYPE_CHOICES),
        "what to make of each caption; true and hybrid negations come with a foil, a false caption that differs in as "
        "few words as possible",
        choices=NEGATION_TYPE_CHOICES,
    )
    seed: int = option(0, "seed of all random choices", at_least=0)
    tokenizer_name: str | None = option(None, "skip texts longer than 77 tokens of this tokenizer (folder or Hub id)")


@dataclass
class OutputArguments:
    output_dir: str = option(help="folder to write; an interrupted run continues with the same command")
    overwrite: bool = option(False, "replace a folder that this command wrote")
    num_proc: int = option(1, "number of processes; the rows do not depend on it", at_least=1)
    captions_per_shard: int = option(10_240, "captions for each Parquet file", at_least=1)
    distractor_mapping: str | None = option(
        None, "table of distractors (similar images) of the rows, the .parquet file of `conclip distractors`"
    )
    distractor_dir: str | None = option(None, "folder with the images of the pool")
    num_distractors: int = option(1, "distractors for each row; 1 as in the paper", at_least=1)


@dataclass
class LanguageModelArguments:
    model_name_or_path: str | None = option(None, "model on the Hub or in a folder, or its name at --base_url")
    base_url: str | None = option(
        None,
        "OpenAI-compatible server (vLLM, TGI, Ollama), e.g. http://localhost:8000; without it, the model runs in this "
        "process with transformers",
    )
    api_key_env: str | None = option(None, "environment variable that holds the API key of the server")
    prompts_dir: str | None = option(None, "folder with your own prompts, named as in conclip/negation/llm/prompts")
    temperature: float = option(
        0.0, "0: the most likely answer; above 0: sample, reproducible with --seed", at_least=0
    )
    max_new_tokens: int = option(256, "maximum length of an answer, in tokens", at_least=1)
    generation_batch_size: int = option(32, "requests at a time, without --base_url", at_least=1)
    max_concurrency: int = option(16, "requests at a time, with --base_url", at_least=1)
    request_timeout: float = option(120.0, "seconds after which a request is given up", at_least=0.001)
    max_retries: int = option(6, "retries of a request that failed or met a busy server", at_least=0)
    max_requests: int | None = option(None, "stop after so many requests; needs --num_proc 1", at_least=0)
    max_tokens: int | None = option(
        None, "stop after so many tokens of prompts and answers; needs --num_proc 1", at_least=0
    )
    answers_file: str | None = option(
        None, "cache of the model's answers (JSON Lines); by default a temporary file in --output_dir"
    )
    max_missing_words: int = option(1, "reject a false negation that drops more content words than this", at_least=0)
    grammar_fallback: bool = option(False, "use the grammar's sentence if the model's is rejected")


# What a row depends on, besides the captions; the rest may change between a run and its continuation.
ROW_SETTINGS = (
    *("split", "caption_column", "image_column", "image_dir", "image_id_column", "objects_column"),
    *("captions_per_row", "test_size", "generator", "strategy", "negation_types", "seed", "tokenizer_name"),
    *("captions_per_shard", "distractor_mapping", "distractor_dir", "num_distractors"),
)
ANSWER_SETTINGS = (
    *("model_name_or_path", "prompts_dir", "temperature", "max_new_tokens", "max_missing_words", "grammar_fallback"),
)

PARSER = Parser(
    {
        "Captions": CaptionArguments,
        "Negations": NegationArguments,
        "Output": OutputArguments,
        "With --generator language_model": LanguageModelArguments,
    },
    prog="conclip negate",
    description=(
        "Make negated captions from captions: false ones, ones that are probably true, and swapped phrases. "
        "The folder loads with datasets.load_dataset and has the columns of CC-Neg. The grammar needs no network."
    ),
    example="conclip negate --dataset_name captions.jsonl --output_dir negations --num_proc 8",
)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_command(
        lambda: run(*PARSER.parse(argv)), interrupted="Interrupted. The same command continues from here."
    )


def run(
    captions: CaptionArguments,
    negations: NegationArguments,
    output: OutputArguments,
    language_model: LanguageModelArguments,
) -> None:
    """
    Write the folder.

    Raises:
        UsageError: options that do not go together, bad input, or a folder that cannot be used.
    """
    check_options(captions, negations, output, language_model)
    if negations.generator == "grammar" or language_model.base_url:
        _import_spacy_without_torch()
    from conclip.embedding.clean_text import text_warnings
    from conclip.hub import use_cache_without_network
    from conclip.negation.pipeline.distractor_images import DistractorImages
    from conclip.negation.pipeline.folder import WORK, check_folder, empty_folder
    from conclip.negation.pipeline.run import write_folder
    from conclip.negation.pipeline.source import Source

    folder = Path(output.output_dir)
    check_folder(folder)
    with reporting_write_errors(folder), in_use(folder):
        if output.overwrite:
            empty_folder(folder)
        # At a server, the name of the model is the server's.
        model = None if language_model.base_url else language_model.model_name_or_path
        use_cache_without_network([captions.dataset_name, negations.tokenizer_name, model])
        answers_file = language_model.answers_file or str(folder / WORK / "answers.jsonl")
        generator = make_generator(negations, {**asdict(language_model), "answers_file": answers_file})
        options = asdict(captions)
        source = Source(options.pop("dataset_name"), list(dict.fromkeys(options.pop("split"))), **options)
        for sentence in text_warnings(source.all_captions()):
            print(sentence)
        distractors = None
        if output.distractor_mapping:
            distractors = DistractorImages(
                output.distractor_mapping, output.distractor_dir, output.num_distractors, len(source.offsets) - 1
            )
        values = {**asdict(captions), **asdict(negations), **asdict(output)}
        settings = {name: values[name] for name in ROW_SETTINGS}
        if negations.generator == "language_model":
            settings |= {name: getattr(language_model, name) for name in ANSWER_SETTINGS}
        stops = _expected_stops() if negations.generator == "language_model" else ()
        try:
            print(
                write_folder(
                    source,
                    folder,
                    generator,
                    settings,
                    distractors=distractors,
                    captions_per_shard=output.captions_per_shard,
                    num_proc=output.num_proc,
                )
            )
        except stops as error:
            if isinstance(error, ValueError):
                raise UsageError(str(error)) from error
            raise UsageError(f"{error} Answers are kept: the same command continues from here.") from error


def _expected_stops() -> tuple:
    """A budget or server that ends the run; or a model, prompt or key that cannot be used (ValueError)."""
    from conclip.negation.llm.generator import BudgetReached, ServerError

    return BudgetReached, ServerError, ValueError


def _import_spacy_without_torch() -> None:
    """Import spaCy, which imports torch if there is one: seconds and 200 MB that the grammar has no use for."""
    if "torch" in sys.modules or importlib.util.find_spec("spacy") is None:
        return
    sys.modules["torch"] = None
    try:
        importlib.import_module("spacy")
    finally:
        del sys.modules["torch"]


def check_options(
    captions: CaptionArguments,
    negations: NegationArguments,
    output: OutputArguments,
    language_model: LanguageModelArguments,
) -> None:
    """
    Raises:
        UsageError: options that do not go together.
    """
    if negations.generator != "language_model":
        PARSER.without_effect([item.name for item in fields(language_model)], "without --generator language_model")
    elif language_model.base_url:
        PARSER.without_effect(["generation_batch_size"], "with --base_url")
    else:
        names = ["api_key_env", "max_concurrency", "request_timeout", "max_retries"]
        PARSER.without_effect(names, "without --base_url")
    if Path(captions.dataset_name).is_file():
        PARSER.without_effect(["dataset_config_name"], f"on the file {captions.dataset_name}")
    if not output.distractor_mapping:
        PARSER.without_effect(["num_distractors"], "without --distractor_mapping")
    if negations.generator == "language_model" and not language_model.model_name_or_path:
        raise UsageError("--generator language_model needs --model_name_or_path: the name of a model.")
    budget = next((name for name in ("max_requests", "max_tokens") if getattr(language_model, name) is not None), None)
    if budget and output.num_proc > 1:
        raise UsageError(
            f"--{budget} needs --num_proc 1, since each process would have a budget of its own; --max_concurrency "
            "sets how many requests run at a time."
        )
    if captions.test_size and len(set(captions.split)) > 1:
        raise UsageError("--test_size cuts the test split off a single split: give one --split.")
    if captions.image_dir and not captions.image_column:
        raise UsageError("--image_dir needs --image_column, the column that holds the paths.")
    if (output.distractor_mapping is None) != (output.distractor_dir is None):
        raise UsageError("--distractor_mapping and --distractor_dir go together: the table and the images it names.")
    if output.distractor_mapping and not captions.image_column:
        raise UsageError("--distractor_mapping needs --image_column: distractors resemble the images of the rows.")
    dataset = Path(captions.dataset_name)
    if dataset.exists() and dataset.resolve() == Path(output.output_dir).resolve():
        raise UsageError(f"--output_dir {output.output_dir} is the dataset's folder: choose another.")


def make_generator(negations: NegationArguments, language_model: dict):
    """
    Return the generator that the options ask for.

    Raises:
        UsageError: spaCy, its model or the tokenizer is missing, or a language model's option is unusable.
    """
    from conclip.negation import negator
    from conclip.negation.grammar.generator import SPACY_MODEL, GrammarGenerator, TokenCounter

    if not all(map(importlib.util.find_spec, ("spacy", SPACY_MODEL))):
        raise UsageError(f'the grammar needs spaCy and its model {SPACY_MODEL}: pip install "conclip[negate]".')
    count_tokens = None
    if negations.tokenizer_name:
        count_tokens = TokenCounter(negations.tokenizer_name)
        try:
            _ = count_tokens.tokenizer
        # Each format of a tokenizer has its own types of errors.
        except Exception as error:
            name = negations.tokenizer_name
            reason = "there is no such folder." if is_missing(name) else why_not_loaded(name, error)
            raise UsageError(f"--tokenizer_name {name}: {reason}") from error
    # Each once, in the order of `NEGATION_TYPE_CHOICES`.
    types = [name for name in NEGATION_TYPE_CHOICES if name in negations.negation_types]
    common = {
        "seed": negations.seed,
        "strategy": negations.strategy,
        "negation_types": types,
        "count_tokens": count_tokens,
        "batch_size": negator.BATCH,
    }
    if negations.generator == "grammar":
        return GrammarGenerator(**common)
    from conclip.negation.llm.generator import LanguageModelGenerator

    try:
        return LanguageModelGenerator(**language_model, **common)
    except ValueError as error:
        raise UsageError(str(error)) from error
