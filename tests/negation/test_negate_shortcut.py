"""The measure of what a bag of words can tell, on texts where the answer is known."""

import random

import pytest
from datasets import Dataset

from conclip.negation import Negation, Result
from conclip.negation.pipeline.output import write_parquet
from conclip.negation.pipeline.shortcut import main, measure, measure_folder, read_texts, summary
from conclip.negation.rows import features, make_row

WORDS = "dog ball tree car boat man snow hill lamp cup road bird".split()


def sentences(rng, images, start=""):
    return [(image, f"{start} a {rng.choice(WORDS)} and a {rng.choice(WORDS)}") for image in images]


def test_a_word_that_gives_it_away_is_found():
    rng = random.Random(0)
    found = measure(sentences(rng, range(200)), sentences(rng, range(200), start="not"))
    assert (found["accuracy"], found["chance"], found["texts"]) == (100.0, 50.0, 400)
    assert found["telling_other"][0] == "not"


def test_equal_classes_are_at_chance():
    rng = random.Random(1)
    found = measure(sentences(rng, range(1_000)), sentences(rng, range(1_000)), max_n=2)
    assert abs(found["accuracy"] - 50) < 4 * found["standard_error"]
    assert found["standard_error"] == pytest.approx(100 * (0.25 / 2_000) ** 0.5, abs=0.01)


def test_the_larger_class_is_cut_down():
    """Unequal classes would be message apart by their sizes alone."""
    rng = random.Random(2)
    found = measure(sentences(rng, range(300)), sentences(rng, range(2_000)))
    assert found["texts"] == 600
    assert found["accuracy"] < 58


def test_no_image_is_in_two_folds():
    """Texts that repeat within an image, by which it would be recognised, and of one class each."""
    one = [(image, f"thing{image} there") for image in range(0, 100, 2) for _ in range(6)]
    other = [(image, f"thing{image} there") for image in range(1, 100, 2) for _ in range(6)]
    assert measure(one, other)["accuracy"] < 65


def test_too_few_images():
    with pytest.raises(ValueError, match="texts of 5 images or more"):
        measure([(0, "a dog")] * 9, [(1, "a cat")] * 9)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out" / "data").mkdir(parents=True)
    rng, rows = random.Random(3), []
    for row in range(60):
        here, gone = rng.sample(WORDS, 2)
        texts = {
            "false": f"no {here}", "true": f"no {gone}", "true_foil": f"no {here} here",
            "hybrid": f"{here}, no {gone}",
            "hybrid_foil": f"{gone}, no {here}", "swap": "never",
        }  # fmt: skip
        made = {
            name: Negation(text, name, "object", "rule", here, (2, 3), name in ("true", "hybrid"))
            for name, text in texts.items()
        }
        rows.append(
            make_row(f"a {here}", Result(row, made), [here]) | {"source_row": row // 2, "source_caption": row % 2}
        )
    path = tmp_path / "out" / "data" / "train-00000-of-00001.parquet"
    write_parquet(Dataset.from_list(rows, features=features(False)), path, 100)
    return tmp_path / "out"


def test_texts_of_a_folder(folder):
    found = read_texts(folder, 1_000, 0)
    assert {name: len(texts) for name, texts in found.items()} == dict.fromkeys(
        ("caption", "false", "true", "true_foil", "hybrid", "hybrid_foil"), 60
    )
    assert found["caption"][:3] == [
        (0, found["caption"][0][1]),
        (0, found["caption"][1][1]),
        (1, found["caption"][2][1]),
    ]
    here = found["caption"][5][1].removeprefix("a ")
    assert found["false"][5] == (2, f"no {here}") and found["true_foil"][5] == (2, f"no {here} here")
    assert found["hybrid"][5][1].startswith(f"{here}, no ") and found["hybrid_foil"][5][1].endswith(f", no {here}")
    assert len(read_texts(folder, 10, 0)["false"]) == 10


def test_folder_report(folder, capsys):
    results = measure_folder(folder)
    assert results["contrast: captions against false negations"]["words"]["accuracy"] == 100.0
    assert results["true against their foils"]["words"]["accuracy"] == 100.0  # "here"
    assert results["hybrids against their foils"]["words"]["accuracy"] < 80
    assert "| true against their foils | 120 | 100.0 ± 0.0 |" in summary(results)
    assert main(["--negation_dir", str(folder)]) == 0
    assert (folder / "shortcut.json").is_file()
    capsys.readouterr()
    assert main(["--negation_dir", str(folder / "data")]) == 1
    assert capsys.readouterr().err.startswith("Error: ")
