"""Model cards: results where the Hub reads them, in the metadata's `model-index`, and sections that tools write."""

import yaml
from huggingface_hub import EvalResult, ModelCard

BENCHMARKS_START, BENCHMARKS_END = "<!-- benchmarks: written by run_benchmarks.py -->", "<!-- end of benchmarks -->"
NOT_MEASURED = "Not measured yet."


def read_card(card_text: str) -> ModelCard:
    """
    Raises:
        ValueError: its metadata cannot be read.
    """
    try:
        return ModelCard(card_text)
    except (yaml.YAMLError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise ValueError(
            f"The model card's metadata, between its first two lines of ---, is damaged: {detail}"
        ) from error


def eval_result(dataset: str, title: str, split: str, metric: str, value: float) -> EvalResult:
    """
    One entry of `model-index`, whose form is that of https://github.com/huggingface/hub-docs/blob/main/modelcard.md.

    Args:
        dataset: an identifier.
        title: of the dataset, for readers.
        metric: its name; the Hub's identifier of the metric is "recall" or "accuracy", whichever the name says.
        value: share of 1.
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
    The card with these entries in its `model-index`: each takes the place of the one of the same dataset, split and
    metric; other entries stay.

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


def without_results(card_text: str) -> str:
    """The card as that of another model: no `model-index`, and an empty section of benchmarks where it has one."""
    card = read_card(card_text)
    card.data.model_name = card.data.eval_results = None
    text = str(card)
    if BENCHMARKS_START in text:
        text = replace_section(text, BENCHMARKS_START, BENCHMARKS_END, NOT_MEASURED)
    return text


def replace_section(text: str, start: str, end: str, body: str) -> str:
    """
    Args:
        start, end: the lines of the section that stay.

    Raises:
        ValueError: one of them is missing.
    """
    before, found, rest = text.partition(start)
    _, end_found, after = rest.partition(end)
    if not (found and end_found):
        raise ValueError(f"The model card has no section between {start!r} and {end!r}.")
    return f"{before}{start}\n{body}\n{end}{after}"


def _identity(entry: EvalResult) -> tuple:
    # A score of all items takes the place of one of some.
    metric = (entry.metric_name or entry.metric_type).partition(" (")[0]
    return entry.dataset_type, entry.dataset_config, entry.dataset_split, entry.metric_type, metric
