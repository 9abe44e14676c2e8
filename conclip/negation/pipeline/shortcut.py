"""How well a bag of words tells true negations from false ones: `python -m conclip.negation.pipeline.shortcut FOLDER`.

A classifier (TF-IDF, logistic regression) sees the texts alone, neither image nor caption. What it finds above chance
is a shortcut: words by which a model could score without looking at the image.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np

from conclip.negation.pipeline.report import read_rows, texts_of

# Name -> products of class 1, products of class 0 ("caption": the plain captions, CC-Neg's own task).
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
_TOLD = 12


def measure(
    one: list[tuple[int, str]], other: list[tuple[int, str]], max_n: int = 1, seed: int = 0
) -> dict[str, float | int | list[str]]:
    """Accuracy of a bag-of-words classifier in 5-fold cross-validation, no image in two folds.

    Args:
        one, other: (image, text) of both classes; the larger is cut down by chance, so that chance is 50 %.
        max_n: 1 for words, 2 for words and pairs of neighbours.

    Returns:
        accuracy in per cent, its standard error (of independent texts), texts, chance; the words that tell most for
        `one` and for `other`.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GroupKFold
    except ImportError as error:
        raise ValueError('the shortcut measure needs scikit-learn: pip install "conclip[negate]".') from error

    size = min(len(one), len(other))
    rng = random.Random(seed)
    rows = [*((image, text, 1) for image, text in rng.sample(one, size))]
    rows += ((image, text, 0) for image, text in rng.sample(other, size))
    images, texts, labels = map(np.array, zip(*rows, strict=True))
    if len(set(images.tolist())) < _FOLDS:
        raise ValueError(f"the shortcut measure needs texts of {_FOLDS} images or more in each class.")

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
        "telling_one": [str(names[number]) for number in order[::-1][:_TOLD]],
        "telling_other": [str(names[number]) for number in order[:_TOLD]],
    }


def read_texts(folder: Path, max_rows: int, seed: int) -> dict[str, list[tuple[int, str]]]:
    """Product -> (source row, text) of each text in up to `max_rows` random rows of a folder."""
    files = sorted((folder / "data").glob("*.parquet"))
    if not files:
        raise ValueError(f"{folder} holds no data/*.parquet: give a folder that conclip.negation wrote.")
    rng, chosen = random.Random(seed), []
    for number, row in enumerate(read_rows(files)):
        if len(chosen) < max_rows:
            chosen.append(row)
        elif (place := rng.randrange(number + 1)) < max_rows:
            chosen[place] = row
    found = {"caption": [(row["source_row"], row["caption"]) for row in chosen]}
    for product in ("false", "true", "true_foil", "hybrid", "hybrid_foil"):
        found[product] = [(row["source_row"], made["text"]) for row in chosen for made in texts_of(row, product)]
    return found


def measure_folder(folder: Path, max_rows: int = 20_000, seed: int = 0) -> dict[str, dict]:
    """Comparison -> "words" and "pairs" -> what `measure` gives; comparisons without texts are left out."""
    found = read_texts(folder, max_rows, seed)
    results = {}
    for name, (ones, others) in COMPARISONS.items():
        one = [text for product in ones for text in found[product]]
        other = [text for product in others for text in found[product]]
        if one and other:
            results[name] = {"words": measure(one, other, 1, seed), "pairs": measure(one, other, 2, seed)}
    return results


def told(results: dict[str, dict]) -> str:
    lines = ["| texts | n | words | words and pairs |", "|---|---|---|---|"]
    for name, result in results.items():
        words, pairs = result["words"], result["pairs"]
        cells = (f"{one['accuracy']:.1f} ± {one['standard_error']:.1f}" for one in (words, pairs))
        lines.append(f"| {name} | {words['texts']:,} | {' | '.join(cells)} |")
    lines.append("\nAccuracy in per cent, chance 50.0. Most telling words (for the first, for the second):")
    lines += [
        f"- {name}: {', '.join(result['words']['telling_one'])}; {', '.join(result['words']['telling_other'])}"
        for name, result in results.items()
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m conclip.negation.pipeline.shortcut", description=__doc__)
    parser.add_argument("folder", type=Path, help="that conclip.negation wrote; shortcut.json is put there")
    parser.add_argument("--max_rows", type=int, default=20_000, help="random rows to use (default: 20000)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        results = measure_folder(args.folder, args.max_rows, args.seed)
        (args.folder / "shortcut.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    except (ValueError, OSError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(told(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
