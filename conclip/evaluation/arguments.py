"""Command-line arguments of evaluate/run_benchmarks.py."""

from dataclasses import dataclass
from pathlib import Path

from conclip.cli import Parser, option
from conclip.errors import UsageError


@dataclass
class EvaluationArguments:
    model: list[str] = option([], "Folders or Hub ids: CLIP, ConCLIP, adapters of either, SigLIP, ALIGN, FLAVA, BLIP.")
    benchmarks: list[str] = option(
        ["scenes"],
        "Names (`list` lists them) or their beginnings, `all` for those whose files are there, "
        "`classes:FOLDER` for a folder of class folders, `two_by_two:FOLDER` for a set like Winoground.",
    )
    data_dir: str = option("data", "Folder with the benchmarks' annotation files and images.")
    allow_missing: bool = option(False, "Leave out items whose image is missing; the table says how many.")
    output_dir: str = option("outputs/benchmarks", "Where benchmarks.json and benchmarks.png go.")
    model_card: str | None = option(None, "Card of the last model, into which its results are written.")
    seed: int = option(0, "Of what a benchmark draws: shuffled captions, the scenes' multiple choice.")
    save_items: bool = option(False, "Also write what each item scored, a file a model and benchmark.")
    revision: str | None = option(None, "Branch, tag or commit of the models on the Hub.")
    per_device_eval_batch_size: int = option(256, "Images or texts embedded at a time.", at_least=1)
    dataloader_num_workers: int = option(0, "Processes that decode and preprocess images, per process.", at_least=0)
    mixed_precision: str | None = option(
        None, "no, fp16 or bf16; default: what `accelerate launch` says.", choices=["no", "fp16", "bf16"]
    )
    embedding_cache_dir: str | None = option(
        None, "Where embeddings are kept for all runs; default: conclip/embeddings in Hugging Face's cache ($HF_HOME)."
    )


PARSER = Parser(
    {"Options": EvaluationArguments},
    prog="conclip evaluate",
    description="Score models on benchmarks.",
    example="conclip evaluate --model outputs/conclip-scenes",
)


def parse_arguments(argv: list[str] | None = None) -> EvaluationArguments:
    """
    Raises:
        UsageError: an unknown option or a bad value.
    """
    (arguments,) = PARSER.parse(argv)
    if not arguments.model and arguments.benchmarks != ["list"]:
        raise UsageError("the following arguments are required: --model (--help lists the options)")
    if arguments.model_card and not Path(arguments.model_card).is_file():
        raise UsageError(f"--model_card {arguments.model_card}: there is no such file.")
    return arguments
