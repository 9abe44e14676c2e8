"""Options of `conclip evaluate`."""

from dataclasses import dataclass
from pathlib import Path

from conclip.cli import Parser, option, warn
from conclip.errors import UsageError
from conclip.models.arguments import EncodingArguments

PREPROCESSINGS = ("transformers", "openai")
QUERY_RULES = ("ours", "spacevlm")


@dataclass
class EvaluationArguments:
    model_name_or_path: list[str] | None = option(
        None,
        "one or more models, by folder or Hub id: CLIP, ConCLIP, LoRA adapters, SigLIP, ALIGN, Chinese-CLIP, FLAVA, "
        "BLIP",
    )
    revision: str | None = option(None, "branch, tag or commit of the models on the Hub")
    benchmarks: list[str] = option(
        ["scenes"],
        "names of benchmarks, or beginnings of names. list: print all names; all: run those whose files are there; "
        "classes:FOLDER: classify images in class folders; two_by_two:FOLDER: a dataset like Winoground's; "
        "pairs:FILE, choice:FILE: images with two or more captions, in JSON Lines",
    )
    data_dir: str = option("data", "folder with the annotation files and images of the benchmarks")
    allow_missing_images: bool = option(False, "skip items whose image is missing; the table counts them")
    preprocessing: str = option(
        "transformers",
        "transformers: the image processor of the model; openai: the pixels of OpenAI's code, bit for bit, for CLIP",
        choices=PREPROCESSINGS,
    )
    clean_text: bool = option(
        True, "clean the texts for CLIP models (curly quotes, HTML entities, …) as OpenAI's tokenizer does"
    )
    query_arithmetic: list[str] | None = option(
        None,
        "also score each model with these rules, which need no training: a text that negates something is embedded as "
        "what it wants, less what it denies; ours: by query arithmetic; spacevlm: by the rule of SpaceVLM "
        "(arXiv 2511.12331)",
        choices=QUERY_RULES,
    )
    query_arithmetic_beta: float = option(
        0.5, "how much of what a text denies is subtracted, in units of the rest", above=0
    )
    query_arithmetic_anchor_weight: float = option(
        1.0, 'weight of "a photo" in a text that only denies; less for models with centred embeddings', at_least=0
    )
    seed: int = option(0, "seed of benchmarks that sample: shuffled captions, multiple choice of the scenes")


@dataclass
class OutputArguments:
    output_dir: str = option("outputs/benchmarks", "folder for benchmarks.json and benchmarks.png")
    log_samples: bool = option(
        False, "also write the scores, ranks or predictions of single items, one file for each model and benchmark"
    )
    model_card: str | None = option(None, "README.md to update with the scores of the last model")


PARSER = Parser(
    {"Models and benchmarks": EvaluationArguments, "Computation": EncodingArguments, "Output": OutputArguments},
    prog="conclip evaluate",
    description="Score one or more models on benchmarks of negation, composition, retrieval and classification.",
    example="conclip evaluate --model_name_or_path openai/clip-vit-base-patch32 outputs/mine --benchmarks sugarcrepe",
)


def parse_arguments(argv: list[str] | None = None) -> tuple[EvaluationArguments, EncodingArguments, OutputArguments]:
    """
    Parse and check the options of `conclip evaluate`.

    Raises:
        UsageError: an unknown option, a bad value, an option without effect, or a model card that does not exist.
    """
    evaluation, computation, output = PARSER.parse(argv)
    if not evaluation.model_name_or_path and evaluation.benchmarks != ["list"]:
        PARSER.error("the following arguments are required: --model_name_or_path")
    models = evaluation.model_name_or_path or []
    local = [model for model in models if Path(model).is_dir()]
    if models and local == models:
        PARSER.without_effect(["revision"], f"on {'local folders' if len(models) > 1 else 'a local folder'}")
    elif local and evaluation.revision:
        warn(f"--revision has no effect on local folders: {', '.join(local)}.")
    if all(name.startswith("scenes") for name in evaluation.benchmarks):
        names = ["data_dir", "allow_missing_images"]
        PARSER.without_effect(names, "on the scenes, which are drawn: name other benchmarks with --benchmarks")
    if "ours" not in (evaluation.query_arithmetic or ()):
        names = ["query_arithmetic_beta", "query_arithmetic_anchor_weight"]
        PARSER.without_effect(names, "without --query_arithmetic ours")
    if output.model_card and not Path(output.model_card).is_file():
        raise UsageError(f"--model_card {output.model_card}: there is no such file.")
    return evaluation, computation, output
