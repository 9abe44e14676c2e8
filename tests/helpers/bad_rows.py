"""Rows of a training set, whole and damaged: helpers, not a test."""

import io
import random

import datasets
from PIL import Image

FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "caption": datasets.Value("string"),
        "negated_captions": datasets.Sequence(datasets.Value("string")),
        "distractor_images": datasets.Sequence(datasets.Image()),
    }
)


def encoded(color="red", size=(40, 40), mode="RGB", format="PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).convert(mode).save(file, format)
    return file.getvalue()


def truncated() -> bytes:
    file = io.BytesIO()
    noise = random.Random(0).randbytes(40 * 40 * 3)
    Image.frombytes("RGB", (40, 40), noise).save(file, "JPEG")
    return file.getvalue()[:-200]


def good_row(index: int) -> dict:
    return {
        "image": {"bytes": encoded()},
        "caption": f"a red square in {index}",
        "negated_captions": ["a red square not in", "no red square in"],
        "distractor_images": [{"bytes": encoded("blue")}, {"bytes": encoded("green")}],
    }


def make_rows(count: int, changes: dict[int, dict]) -> datasets.Dataset:
    """Good rows, but for `changes`: row -> column -> value."""
    rows = [{**good_row(index), **changes.get(index, {})} for index in range(count)]
    return datasets.Dataset.from_list(rows, features=FEATURES)
