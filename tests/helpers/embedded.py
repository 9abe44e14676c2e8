"""Rows with repeated images, and counts of what is done with them: helpers for tests of the cache, not a test."""

from pathlib import Path

import pyarrow.parquet
import torch
from bad_rows import encoded, make_rows
from safetensors.torch import load_file

from conclip.embedding import image_column
from conclip.embedding.image_hashes import StoredImages
from modeling_conclip import ConCLIPModel

COUNT = 40
# 20 images in pairs of rows, and 12 distractors of which 6 are among the images.
SHADES = [f"rgb({5 * shade}, 0, {shade})" for shade in range(26)]


def image(row: int) -> dict:
    return {"bytes": encoded(SHADES[row // 2])}


def distractors(row: int) -> list[dict]:
    return [{"bytes": encoded(SHADES[14 + row % 6])}, {"bytes": encoded(SHADES[20 + row % 6])}]


def write_rows(folder: Path, changes: dict | None = None, count: int = COUNT) -> Path:
    rows = {row: {"image": image(row), "distractor_images": distractors(row)} for row in range(count)}
    dataset = make_rows(count, {row: {**rows[row], **(changes or {}).get(row, {})} for row in rows})
    folder.mkdir(exist_ok=True)
    # Not to_parquet, which puts the bytes of files in.
    pyarrow.parquet.write_table(dataset.data.table, folder / "train.parquet")
    return folder


def write_inputs(folder: Path, clip: Path) -> dict[str, str]:
    """Arguments of a run on these rows with a cache of its own."""
    return {
        "model_name_or_path": str(clip),
        "dataset_name": str(write_rows(folder / "data")),
        "embedding_cache_dir": str(folder / "cache"),
        "eval_split": "none",
        "max_steps": 2,
    }


class Watch:
    """Counts the images that are embedded, hashed and opened."""

    def __init__(self, monkeypatch):
        self.counts = {"embedded": 0, "hashed": 0, "opened": 0}
        self.watch(monkeypatch, ConCLIPModel, "embed_images", "embedded", lambda given, found: len(given[1]))
        self.watch(monkeypatch, StoredImages, "keys", "hashed", lambda given, found: len(found))
        self.watch(monkeypatch, image_column, "decode", "opened", lambda given, found: 1)

    def watch(self, monkeypatch, owner, name, count, of):
        plain = getattr(owner, name)

        def watched(*given, **options):
            found = plain(*given, **options)
            self.counts[count] += of(given, found)
            return found

        monkeypatch.setattr(owner, name, watched)

    def new_counts(self) -> tuple[int, int, int]:
        """Return how many images were embedded, hashed and opened since the last call."""
        counts = tuple(self.counts.values())
        self.counts.update(dict.fromkeys(self.counts, 0))
        return counts


def stored(cache: Path) -> dict[bytes, torch.Tensor]:
    """Key -> embedding of all encoders in the cache, read without the code under test."""
    found = {}
    for path in cache.glob("*/shard-*.safetensors"):
        tensors = load_file(path)
        found |= {key.numpy().tobytes(): embed for key, embed in zip(tensors["keys"], tensors["embeds"], strict=True)}
    return found
