"""
Small files of benchmarks of composition in the formats of their authors, and scores by hand: helpers, not a test.

Image files are empty: a scorer of these tests looks the score up by the name of the image and the caption.
"""

import csv
import json
from pathlib import Path

import numpy as np
from benchmark_files import write

from conclip.evaluation.items import ItemReader
from conclip.evaluation.score import Score
from conclip.evaluation.scoring import score_benchmark
from dataset_scripts.benchmarks.crepe import COMPLEXITIES
from dataset_scripts.benchmarks.schema import Benchmark
from dataset_scripts.benchmarks.spec import SUBSETS
from dataset_scripts.benchmarks.vl_checklist import FILES


class Table:
    """
    A scorer with a table of scores.

    Args:
        scores: (name of the image without its suffix, caption) -> score; all others are 0.
    """

    def __init__(self, scores: dict[tuple[str, str], float]):
        self.scores = scores

    def pairs(self, images, image_at, texts, text_at) -> np.ndarray:
        names = [Path(name).stem for name in images.names]
        pairs = zip(image_at, text_at, strict=True)
        return np.array([self.scores.get((names[image], texts[text]), 0.0) for image, text in pairs])


def scores_of(benchmark: Benchmark, data_dir: Path, table: dict, allow_missing_images=False) -> dict[tuple, Score]:
    """(metric, part) -> its score, after the file of every image was made."""
    if not allow_missing_images:
        for item in benchmark.read(data_dir):
            for image in item["images"]:
                touch(image)
    scores = score_benchmark(ItemReader(benchmark, data_dir, allow_missing_images), Table(table))
    assert sum(score.headline for score in scores) == (3 if "group score" in {own.metric for own in scores} else 1)
    return {(score.metric, score.part): score for score in scores}


def touch(image: str | Path) -> None:
    Path(image).parent.mkdir(parents=True, exist_ok=True)
    Path(image).touch()


def write_csv(path: Path, columns: list[str], rows: list[list]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


CREPE_COLUMNS = ["image_id", "x", "y", "width", "height", "caption", "hard_negs"]


def write_crepe(data_dir: Path, negatives: str, more: dict[int, list[list]] | None = None) -> Path:
    """Each complexity has one row, "right <complexity>" against five; `more` has further rows."""
    folder = data_dir / "crepe" / "prod_hard_negatives" / negatives
    for complexity in COMPLEXITIES:
        row = [complexity, 10, 20, 30, 40, f"right {complexity}", str([f"wrong {at}" for at in range(5)])]
        name = f"prod_vg_hard_negs_{negatives}_complexity_{complexity}.csv"
        write_csv(folder / name, CREPE_COLUMNS, [row, *(more or {}).get(complexity, [])])
    return folder


SVO_COLUMNS = ["sentence", "pos_triplet", "neg_triplet", "pos_url", "neg_url", "pos_image_id", "neg_image_id"]
SVO_COLUMNS += ["subj_neg", "verb_neg", "obj_neg"]


def svo_row(sentence: str, images: tuple[int, int], differs: str) -> list:
    """`differs` holds a letter for each part that differs: s, v, o."""
    urls = [f"https://images.org/{image}.jpg" for image in images]
    return [sentence, "a,b,c", "a,b,d", *urls, *images, *(letter in differs for letter in "svo")]


def write_vl_checklist(data_dir: Path, rows: dict[str, list] | None = None) -> Path:
    """Each file has one row, whose image is named "of-" and its place in the list of files; `rows` has other files."""
    folder = data_dir / "vl_checklist" / "data"
    for at, name in enumerate(FILES):
        row = [f"of-{at}.jpg", {"POS": ["true", "also true"], "NEG": ["false", "also false"]}]
        write(folder / f"{name}.json", (rows or {}).get(name, [row]))
    return folder


def write_spec(data_dir: Path, image_to_text: dict | None = None, text_to_image: dict | None = None) -> Path:
    """Each subset has one row of three options, the second of which is right; the arguments have other subsets."""
    for subset in SUBSETS:
        row = {"query": f"{subset}.jpg", "keys": ["none", "one", "two"], "label": 1}
        write(data_dir / "spec" / subset / "image2text.json", (image_to_text or {}).get(subset, [row]))
        row = {"query": f"the {subset}", "keys": [f"images/{subset}-{at}.jpg" for at in range(3)], "label": 1}
        write(data_dir / "spec" / subset / "text2image.json", (text_to_image or {}).get(subset, [row]))
    return data_dir / "spec"


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path
