"""The pieces of evaluate/run_benchmarks.py alone, where a whole run would not tell right from wrong."""

import io
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from benchmark_runs import refusal
from PIL import ExifTags, Image
from small_benchmarks import write_images
from tiny import tiny_model, tiny_processor

from conclip.embedding.images import ImageEmbedder
from conclip.errors import UsageError
from conclip.evaluation import items, scorers
from conclip.evaluation.benchmarking import check_files
from conclip.evaluation.items import ItemReader, distinct_images
from conclip.evaluation.score import macro_score
from conclip.evaluation.score_classes import class_embeddings, score_classes
from conclip.evaluation.score_items import itt_tot_columns, pair_columns
from conclip.evaluation.scorers import EmbeddingScorer
from conclip.models.cached_encoder import cached_clip
from conclip.models.clip import text_tokenizer
from dataset_scripts.benchmarks.eqben import EQBEN
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item


def test_the_key_of_a_crop_is_of_its_image_and_its_box(tmp_path):
    write_images(tmp_path / "images", ["a.png", "b.png"])
    one, other = (str(tmp_path / "images" / name) for name in ("a.png", "b.png"))
    small, large = (0, 0, 9, 9), (0, 0, 30, 30)
    parts = [(one, small), (one, large), (other, small), (other, large), (one, small)]
    items = [item(at, [image], ["a cat"], boxes=[box]) for at, (image, box) in enumerate(parts)]
    images, image_at = distinct_images([*items, item(5, [one], ["a cat"])], "mine")
    assert image_at == [[0], [1], [2], [3], [0], [4]]
    keys = images.stored.keys()
    assert len(np.unique(keys, axis=0)) == 5
    # As a process that has some of them finds them, and as another run does.
    assert np.array_equal(np.concatenate([images.stored.keys(0, 2), images.stored.keys(2, 5)]), keys)
    again, _ = distinct_images(items[::-1], "mine")
    assert np.array_equal(again.stored.keys(), keys[[0, 3, 2, 1]])
    assert [images[at].size for at in range(5)] == [(9, 9), (30, 30), (9, 9), (30, 30), (60, 48)]


def test_few_items_are_in_memory_if_they_hold_images(monkeypatch):
    monkeypatch.setattr(items, "BYTES_AT_A_TIME", 4_000)
    content = io.BytesIO()
    Image.new("RGB", (20, 20)).save(content, "bmp")  # 1,254 bytes
    images = [{"bytes": content.getvalue()}] * 5 + [Image.new("RGB", (20, 20))] * 4 + ["a.png"] * 3

    def read(_):
        yield from (item(at, [image, image], ["a cat"]) for at, image in enumerate(images))

    reader = ItemReader(Benchmark("mine", "mine", Kind.IMAGES, read, "", "test"), Path(), allow_missing_images=True)
    chunks = [[own["id"] for own in chunk.items] for chunk in reader.chunks()]
    assert chunks == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8"]]
    assert reader.skipped == {"": 3}


def test_a_missing_file_behind_an_array_is_found_before_a_model_is_loaded(tmp_path):
    rows = [[f"{at}{side}.npy" for side in "ab"] for at in range(2)]
    (tmp_path / "eqben/image_subset").mkdir(parents=True)
    for name in [*rows[0], rows[1][0]]:
        np.save(tmp_path / "eqben/image_subset" / name, np.zeros((4, 6, 3), np.uint8))
    columns = [{"image0": one, "image1": other, "caption0": "a", "caption1": "b"} for one, other in rows]
    (tmp_path / "eqben/eqben_subset_10percent_final.json").write_text(json.dumps(columns))
    with pytest.raises(UsageError, match="item 1: there is no image .*1b.npy"):
        check_files([ItemReader(EQBEN, tmp_path)])


def test_a_box_counts_the_pixels_as_stored_and_a_whole_image_is_turned_upright(tmp_path):
    """As stored, the image is 60 wide and 40 high, with red in one corner; upright it is 40 wide and 60 high."""
    pixels = np.full((40, 60, 3), 255, np.uint8)
    pixels[:16, 32:] = (255, 0, 0)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    path = str(tmp_path / "turned.jpg")
    items = [item(0, [path], ["red"], boxes=[(34, 2, 58, 14)]), item(1, [path], ["red"])]
    images, _ = distinct_images(items, "mine")
    assert images[0].size == (24, 12)
    assert np.abs(np.array(images[0], int) - (255, 0, 0)).max() < 8
    upright = np.array(images[1], int)
    # Orientation 6: the first row of the stored image is the last column.
    assert upright.shape == (60, 40, 3) and np.abs(upright - pixels.swapaxes(0, 1)[:, ::-1])[:30].max() < 8
    as_stored, _ = distinct_images(items, "mine", as_stored=True)
    assert as_stored[1].size == (60, 40)
    # The embeddings of the two ways must not be taken for each other; a box is read in one way only.
    keys, others = images.stored.keys(), as_stored.stored.keys()
    assert np.array_equal(keys[0], others[0]) and not np.array_equal(keys[1], others[1])


def test_encoded_images_are_the_same_by_their_bytes(tmp_path):
    write_images(tmp_path / "images", ["a.png", "b.png"])
    encoded = [{"bytes": (tmp_path / "images" / name).read_bytes()} for name in ("a.png", "b.png", "a.png")]
    images, image_at = distinct_images([item(at, [image], ["a"]) for at, image in enumerate(encoded)], "mine")
    assert len(images) == 2 and image_at == [[0], [1], [0]]


def test_pairs_take_the_true_caption_from_where_it_is():
    chunk = SimpleNamespace(items=[{"answer": 1}, {"answer": 0}])
    found = pair_columns(chunk, [np.array([[0.1, 0.9]]), np.array([[0.3, 0.2]])], None)
    assert found == {"true_scores": [0.9, 0.3], "false_scores": [0.1, 0.2]}


def test_chance_of_a_mean_over_categories_is_the_mean_of_theirs():
    categories = {"two": {"count": 9, "ties": 1, "chance": 1 / 2}, "four": {"count": 1, "ties": 0, "chance": 1 / 4}}
    benchmark = SimpleNamespace(skipped_categories=frozenset(), min_count=1, macro=False)
    reader = SimpleNamespace(benchmark=benchmark, skipped=Counter(two=3, five=1))
    found = macro_score("accuracy", {"categories": categories, "macro_accuracy": 0.7, "chance": 0.475}, reader)
    assert (found.value, found.chance, found.count, found.ties, found.skipped) == (0.7, 3 / 8, 10, 1, 4)
    benchmark.min_count = 9
    found = macro_score("accuracy", {"categories": categories, "macro_accuracy": 0.7, "chance": 0.475}, reader)
    assert (found.chance, found.count) == (1 / 2, 9)


class Vectors:
    """An encoder that returns a given embedding for each text and image."""

    def __init__(self, **vectors: list[float]):
        self.vectors = {name: torch.tensor(vector) for name, vector in vectors.items()}

    def texts(self, texts: list[str]) -> torch.Tensor:
        return torch.stack([self.vectors[text] for text in texts])

    def images(self, images) -> torch.Tensor:
        return self.texts(images)


def test_a_class_is_the_mean_of_its_prompts_of_length_one():
    vectors = Vectors(a=[1.0, 0.0], b=[0.0, 1.0], c=[0.6, 0.8])
    found = class_embeddings([["c"], ["b", "a"], ["a", "c", "c"]], vectors)
    expected = torch.tensor([[0.6, 0.8], [0.5**0.5, 0.5**0.5], [2.2 / 7.4**0.5, 1.6 / 7.4**0.5]], dtype=torch.float64)
    assert torch.allclose(found, expected, atol=1e-6) and found.dtype == torch.float64


def test_classification_counts_skipped_items_under_each_condition():
    prompts = {"bare names": [["cat"], ["dog"]], "templates": [["dog"], ["cat"]]}
    benchmark = Benchmark("x", "X", Kind.CLASSES, None, "", "test", classes=lambda _: prompts)
    chunk = SimpleNamespace(images=["cat", "dog", "dog"], image_at=[[0], [1], [2]], items=[{"answer": 0}] * 3)
    reader = SimpleNamespace(
        benchmark=benchmark, data_dir=None, skipped=Counter({"": 5}), chunks=lambda: iter([chunk])
    )
    found = score_classes(reader, Vectors(cat=[1.0, 0.0], dog=[0.0, 1.0]))
    assert [
        (score.metric, score.part, score.value, score.count, score.skipped, score.headline) for score in found
    ] == [
        ("top-1", "bare names", pytest.approx(1 / 3), 3, 5, True),
        ("mean per class", "bare names", pytest.approx(1 / 3), 3, 5, False),
        ("top-1", "templates", pytest.approx(2 / 3), 3, 5, False),
        ("mean per class", "templates", pytest.approx(2 / 3), 3, 5, False),
    ]


def test_of_classes_with_the_same_prompts_the_first_wins():
    """Ten images by hand: the two missiles have the same prompt, but for the case, and so the same score."""
    prompts = {"names": [["missile"], ["dog"], ["Missile"], ["cat"]]}
    benchmark = Benchmark("x", "X", Kind.CLASSES, None, "", "test", classes=lambda _: prompts)
    # Class of each image, and what it looks like.
    images = [(0, "missile"), (0, "missile"), (0, "dog"), (1, "dog"), (1, "cat"), (1, "dog")]
    images += [(2, "missile"), (2, "missile"), (3, "cat"), (3, "cat")]
    chunk = SimpleNamespace(
        images=[name for _, name in images],
        image_at=[[at] for at in range(10)],
        items=[{"id": str(at), "answer": answer} for at, (answer, _) in enumerate(images)],
    )
    reader = SimpleNamespace(benchmark=benchmark, data_dir=None, skipped=Counter(), chunks=lambda: iter([chunk]))
    vectors = Vectors(missile=[1.0, 0.0, 0.0], Missile=[1.0, 0.0, 0.0], dog=[0.0, 1.0, 0.0], cat=[0.0, 0.0, 1.0])
    published, strict, mean = score_classes(reader, vectors)
    # An argmax takes class 0 for every missile: right are 2 of 3, 2 of 3, none of 2 and 2 of 2.
    assert (published.metric, published.part, published.headline) == ("top-1, first of equals wins", "names", True)
    assert (published.value, published.ties, published.count) == (pytest.approx(6 / 10), 0, 10)
    # Three classes to tell apart; the third images are never right.
    assert published.chance == pytest.approx((3 + 3 + 0 + 2) / 10 / 3)
    assert (strict.metric, strict.value, strict.ties) == ("top-1", pytest.approx(4 / 10), 4)
    assert strict.chance == pytest.approx((0 + 3 + 0 + 2) / 10 / 3) and not strict.headline
    assert (mean.metric, mean.value) == ("mean per class, first of equals wins", pytest.approx((4 / 3 + 0 + 1) / 4))
    assert mean.chance == pytest.approx(3 / 4 / 3) and not mean.headline


def test_a_text_has_one_key_among_whatever_texts():
    model, tokenizer = tiny_model(), text_tokenizer(tiny_model(), tiny_processor())
    embedder = ImageEmbedder(tiny_processor().image_processor, Accelerator(), 4, 0, None)
    keys = cached_clip(model, tokenizer, embedder, 4).text_keys
    texts = ["a cat", "a dog and a cat", "a dog", "A  CAT"]
    found = keys(texts)
    assert np.array_equal(np.concatenate([keys([text]) for text in texts]), found)
    assert np.array_equal(found[0], found[3]) and len(np.unique(found, axis=0)) == 3


def test_text_scores_are_of_the_true_captions_and_of_each_with_the_false_one():
    chunk = SimpleNamespace(texts=["a", "b", "c"], text_at=[[2, 0, 1], [0, 1, 2]])
    vectors = Vectors(a=[1.0, 0.0], b=[0.6, 0.8], c=[0.28, 0.96])
    found = itt_tot_columns(chunk, [np.zeros((1, 3)), np.ones((1, 3))], EmbeddingScorer(vectors))
    assert found["text_scores"] == pytest.approx(np.array([[0.28, 0.936, 0.6], [0.6, 0.28, 0.936]]), abs=1e-6)
    assert found["image_scores"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_cosines_of_many_pairs(monkeypatch):
    monkeypatch.setattr(scorers, "PAIRS_AT_A_TIME", 3)
    rng = np.random.default_rng(0)
    one, other = (torch.from_numpy(rng.standard_normal((4, 5), dtype=np.float32)) for _ in range(2))
    one_at, other_at = rng.integers(0, 4, 8), rng.integers(0, 4, 8)
    expected = [
        sum(float(a) * float(b) for a, b in zip(one[i], other[j], strict=True))
        for i, j in zip(one_at, other_at, strict=True)
    ]
    assert scorers.cosines(one, one_at, other, other_at) == pytest.approx(expected, abs=1e-12)


def test_images_are_looked_for_before_a_model_is_loaded(data, tmp_path, capsys):  # noqa: F811
    (tmp_path / "coco" / "val2017").mkdir(parents=True)
    (tmp_path / "sugarcrepe").symlink_to(data / "sugarcrepe")
    for path in (data / "coco" / "val2017").iterdir():
        if path.name != "000000000008.jpg":
            (tmp_path / "coco" / "val2017" / path.name).symlink_to(path)
    message = refusal(["nowhere/at/all"], ["sugarcrepe"], tmp_path, tmp_path / "out", capsys)
    assert "there is no image" in message and "000000000008.jpg" in message
