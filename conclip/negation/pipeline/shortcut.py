"""
The command `conclip shortcut`: how well a bag of words tells true negations from false ones.

A classifier (TF-IDF, logistic regression) sees the texts alone, neither image nor caption. Accuracy above chance is a
shortcut: words by which a model could score without looking at the image.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from conclip.atomic_write import write_atomically
from conclip.cli import Parser, option
from conclip.errors import UsageError, one_line
from conclip.negation.rows import texts_of
from conclip.runtime import run_command

# Name -> negation_types of class 1, negation_types of class 0 ("caption": the plain captions, CC-Neg's own task).
COMPARISONS = {
    "true against false negations": (("true", "hybrid"), ("false",)),
    "true against false, without hybrids": (("true",), ("false",)),
    "true against their foils": (("true",), ("true_foil",)),
    "hybrids against their foils": (("hybrid",), ("hybrid_foil",)),
    "all true against all false": (("true", "hybrid"), ("false", "true_foil", "hybrid_foil")),
    "contrast: captions against false negations": (("caption",), ("false",)),
}
_WORDS = r"[\w'’]+|[,.]"
_FOLDS = 5
_WORDS_SHOWN = 12


def measure(
    one: list[tuple[int, str]], other: list[tuple[int, str]], max_n: int = 1, seed: int = 0
) -> dict[str, float | int | list[str]]:
    """
    Return the accuracy of a bag-of-words classifier in 5-fold cross-validation, no image in two folds.

    Args:
        one, other: (image, text) of both classes; the larger is sampled down, so that chance is 50 %.
        max_n: 1 for words, 2 for words and pairs of neighbours.

    Returns:
        accuracy in per cent, its standard error (of independent texts), texts, chance; the words with the largest
        weights for `one` and for `other`.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GroupKFold
    except ImportError as error:
        raise UsageError('the shortcut measure needs scikit-learn: pip install "conclip[negate]".') from error

    size = min(len(one), len(other))
    rng = random.Random(seed)
    rows = [*((image, text, 1) for image, text in rng.sample(one, size))]
    rows += ((image, text, 0) for image, text in rng.sample(other, size))
    images, texts, labels = map(np.array, zip(*rows, strict=True))
    if len(set(images.tolist())) < _FOLDS:
        raise UsageError(f"the shortcut measure needs texts of {_FOLDS} images or more in each class.")

    def fit(chosen):
        vectorizer = TfidfVectorizer(ngram_range=(1, max_n), min_df=2, token_pattern=_WORDS, sublinear_tf=True)
        model = LogisticRegression(max_iter=1000)
        return vectorizer, model.fit(vectorizer.fit_transform(texts[chosen]), labels[chosen])

    right = 0
    for train, test in GroupKFold(_FOLDS).split(texts, groups=images):
        vectorizer, model = fit(train)
        right += int((model.predict(vectorizer.transform(texts[test])) == labels[test]).sum())
    vectorizer, model = fit(np.arange(len(texts)))
    order, names = np.argsort(model.coef_[0]), vectorizer.get_feature_names_out()
    accuracy = right / len(texts)
    return {
        "accuracy": round(100 * accuracy, 2),
        "standard_error": round(100 * (accuracy * (1 - accuracy) / len(texts)) ** 0.5, 2),
        "chance": 50.0,
        "texts": len(texts),
        "telling_one": [str(names[number]) for number in order[::-1][:_WORDS_SHOWN]],
        "telling_other": [str(names[number]) for number in order[:_WORDS_SHOWN]],
    }


def read_texts(folder: Path, max_rows: int, seed: int) -> dict[str, list[tuple[int, str]]]:
    """Return negation type -> (source row, text) of each text in up to `max_rows` random rows of a folder."""
    from conclip.negation.pipeline.output import read_rows

    files = sorted((folder / "data").glob("*.parquet"))
    if not files:
        raise UsageError(f"{folder} holds no data/*.parquet: give a folder that `conclip negate` wrote.")
    rng, chosen = random.Random(seed), []
    try:
        for number, row in enumerate(read_rows(files)):
            if len(chosen) < max_rows:
                chosen.append(row)
            elif (place := rng.randrange(number + 1)) < max_rows:
                chosen[place] = row
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{folder}/data cannot be read ({one_line(error)}): repeat `conclip negate`.") from error
    if chosen and not {"source_row", "caption", "negated_captions"} <= chosen[0].keys():
        raise UsageError(f"{folder}/data has other columns: give a folder that `conclip negate` wrote.")
    found = {"caption": [(row["source_row"], row["caption"]) for row in chosen]}
    for negation_type in ("false", "true", "true_foil", "hybrid", "hybrid_foil"):
        found[negation_type] = [
            (row["source_row"], made["text"]) for row in chosen for made in texts_of(row, negation_type)
        ]
    return found


def measure_folder(folder: Path, max_rows: int = 20_000, seed: int = 0) -> dict[str, dict]:
    """Return comparison -> "words" and "pairs" -> what `measure` returns; comparisons without texts are skipped."""
    found = read_texts(folder, max_rows, seed)
    results = {}
    for name, (ones, others) in COMPARISONS.items():
        one = [text for negation_type in ones for text in found[negation_type]]
        other = [text for negation_type in others for text in found[negation_type]]
        if one and other:
            results[name] = {"words": measure(one, other, 1, seed), "pairs": measure(one, other, 2, seed)}
    return results


def summary(results: dict[str, dict]) -> str:
    lines = ["| texts | n | words | words and pairs |", "|---|---|---|---|"]
    for name, result in results.items():
        words, pairs = result["words"], result["pairs"]
        cells = (f"{one['accuracy']:.1f} ± {one['standard_error']:.1f}" for one in (words, pairs))
        lines.append(f"| {name} | {words['texts']:,} | {' | '.join(cells)} |")
    lines.append(
        "\nAccuracy in per cent, chance 50.0. Words with the largest weights (for the first, for the second):"
    )
    lines += [
        f"- {name}: {', '.join(result['words']['telling_one'])}; {', '.join(result['words']['telling_other'])}"
        for name, result in results.items()
    ]
    return "\n".join(lines)


@dataclass
class ShortcutArguments:
    negation_dir: Path = option(help="folder that `conclip negate` wrote; shortcut.json is written into it")
    max_rows: int = option(20_000, "rows to use, sampled at random", at_least=1)
    seed: int = option(0, "seed of all random choices", at_least=0)


PARSER = Parser(
    {"Shortcut": ShortcutArguments},
    prog="conclip shortcut",
    description="Measure how well words alone tell true negations from false ones, which a model could learn without "
    "looking at images.",
    example="conclip shortcut --negation_dir negations",
)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_command(lambda: run(*PARSER.parse(argv)), interrupted="Interrupted.")


def run(arguments: ShortcutArguments) -> None:
    results = measure_folder(arguments.negation_dir, arguments.max_rows, arguments.seed)
    write_atomically(arguments.negation_dir / "shortcut.json", (json.dumps(results, indent=2) + "\n").encode())
    print(summary(results))
