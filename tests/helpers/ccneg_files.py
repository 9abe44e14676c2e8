"""A tiny CC-Neg, and a tiny COCO train2017 beside it, in the layout their authors distribute."""

import io
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import PIL.Image
import torch

IMAGES = "ccneg_images/cc3m_subset_images_extracted_final"
PREFIX = "/workspace/datasets/cc3m/"
COCO_IDS = [30, 9, 25, 72]  # in the file's order; CocoCaptions goes by ascending id


def jpeg(color: tuple[int, int, int], size: int = 8) -> bytes:
    content = io.BytesIO()
    PIL.Image.new("RGB", (size, size), color).save(content, "JPEG", quality=95)
    return content.getvalue()


def annotation(row: int) -> dict:
    return {
        "json": {"caption": f"a dog, with ball {row}"},
        "sop_data": {
            "negative-prompt": f"a dog, not with ball {row}",
            "exclusion-prompt": "a dog",
            "sop_chosen_object": f"ball {row}",
            "sop_decomposition": {"subject": "a dog"},
        },
    }


def annotations(rows: int) -> dict:
    """What `ccneg_preprocessed.pt` holds."""
    return {
        "image_paths": [f"{PREFIX}{IMAGES}/{row:06}.jpg" for row in range(rows)],
        "annotations": [annotation(row) for row in range(rows)],
        "num_ops": {1: list(range(rows))},
    }


def mapping(rows: int) -> list[list[int]]:
    """What `distractor_image_mapping.pt` holds."""
    return [[(row + shift) % len(COCO_IDS) for shift in range(3)] for row in range(rows)]


def image_color(row: int) -> tuple[int, int, int]:
    return (row % 256, 40, 200)


def write_ccneg(folder: Path, rows: int = 12) -> Path:
    """Writes annotations, images and mapping; image `row` has the color `image_color(row)`. Returns `folder`."""
    (folder / IMAGES).mkdir(parents=True)
    for row in range(rows):
        (folder / IMAGES / f"{row:06}.jpg").write_bytes(jpeg(image_color(row)))
    torch.save(annotations(rows), folder / "ccneg_preprocessed.pt")
    torch.save(mapping(rows), folder / "distractor_image_mapping.pt")
    return folder


def write_coco(folder: Path) -> Path:
    """Writes 4 images; the one with id i has the color (i, i, i). Returns `folder`."""
    (folder / "train2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images = [{"id": number, "file_name": f"{number:012}.jpg"} for number in COCO_IDS]
    for image in images:
        (folder / "train2017" / image["file_name"]).write_bytes(jpeg((image["id"],) * 3))
    captions = {"images": images, "annotations": [{"image_id": 9, "id": 1, "caption": "a cat"}]}
    (folder / "annotations" / "captions_train2017.json").write_text(json.dumps(captions))
    return folder


SPLITS = ("train", "test")


def color(image):
    """Mean colour; a JPEG of one colour is off by a few units."""
    return np.asarray(image.convert("RGB"), dtype=float).mean(axis=(0, 1))


def run_python(program, cwd, **environment):
    """Standard output of a program in a process of its own, without network and without this repository's code."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def leftovers(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("ccneg"))


def truncate(path, keep=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
