"""Model cards: results in the metadata (`model-index`, which the Hub reads) and in sections of the text."""

import yaml
from huggingface_hub import EvalResult, ModelCard

from conclip.errors import one_line

BENCHMARKS_START, BENCHMARKS_END = "<!-- benchmarks: written by run_benchmarks.py -->", "<!-- end of benchmarks -->"


def read_card(card_text: str) -> ModelCard:
    """
    Parse a card.

    Raises:
        ValueError: the card's metadata cannot be read.
    """
    try:
        return ModelCard(card_text)
    except (yaml.YAMLError, ValueError) as error:
        detail = one_line(error)
        raise ValueError(
            f"The model card's metadata, between its first two lines of ---, is damaged: {detail}"
        ) from error


def eval_result(dataset: str, title: str, split: str, metric: str, value: float) -> EvalResult:
    """
    Return one entry of `model-index` (https://github.com/huggingface/hub-docs/blob/main/modelcard.md).

    Args:
        dataset: identifier of the dataset.
        title: name of the dataset for readers.
        metric: name of the metric; the Hub's identifier is "recall" if the name holds that word, else "accuracy".
        value: between 0 and 1.
    """
    return EvalResult(
        task_type="zero-shot-image-classification",
        dataset_type=dataset,
        dataset_name=title,
        dataset_split=split or None,
        metric_type="recall" if "recall" in metric else "accuracy",
        metric_name=metric,
        metric_value=round(value, 6),
    )


def with_eval_results(card_text: str, results: list[EvalResult], model_name: str) -> str:
    """
    Add entries to a card's `model-index`.

    Each replaces the entry of the same dataset, split and metric; other entries stay.

    Raises:
        ValueError: the card's metadata cannot be read.
    """
    card = read_card(card_text)
    new, entries = {_identity(result): result for result in results}, []
    replaced = set(new)
    for entry in card.data.eval_results or []:
        if _identity(entry) not in replaced:
            entries.append(entry)
        elif _identity(entry) in new:
            entries.append(new.pop(_identity(entry)))
    card.data.model_name, card.data.eval_results = model_name, [*entries, *new.values()]
    return str(card)


def replace_section(text: str, start: str, end: str, body: str) -> str:
    """
    Replace the text between two marker lines.

    Args:
        start, end: the marker lines, which stay.

    Raises:
        ValueError: a marker is missing.
    """
    before, found, rest = text.partition(start)
    _, end_found, after = rest.partition(end)
    if not (found and end_found):
        raise ValueError(f"The model card has no section between {start!r} and {end!r}.")
    return f"{before}{start}\n{body}\n{end}{after}"


def _identity(entry: EvalResult) -> tuple:
    # A score over all items replaces one over some of them: "accuracy (60 of 100 items)".
    metric = (entry.metric_name or entry.metric_type).partition(" (")[0]
    return entry.dataset_type, entry.dataset_config, entry.dataset_split, entry.metric_type, metric
