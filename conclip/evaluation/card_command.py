"""`conclip card`: write the results of benchmarks into a model card."""

from dataclasses import dataclass

from conclip.cli import Parser, option
from conclip.runtime import run_command


@dataclass
class CardArguments:
    model_card: str = option(help="model card (README.md) to update; earlier results are replaced")
    results_file: str = option("outputs/benchmarks/benchmarks.json", "results of `conclip evaluate`")
    model: str | None = option(None, "name of the card's model in the results; required if there are several models")


PARSER = Parser(
    {"Options": CardArguments},
    prog="conclip card",
    description="Write the results of benchmarks into a model card.",
    example="conclip card --model_card README.md --model my-model",
)


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(argv), interrupted="Interrupted; the card is unchanged.")


def run(argv: list[str] | None) -> None:
    (arguments,) = PARSER.parse(argv)
    # Imported late: --help and a mistyped option are answered without huggingface_hub.
    from conclip.evaluation.card import fill_card

    fill_card(arguments.results_file, arguments.model_card, arguments.model)
