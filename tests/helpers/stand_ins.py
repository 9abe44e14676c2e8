"""A working directory in which the names of the documents are small local models and files: helpers, not a test."""

import json
import shutil
from pathlib import Path

import numpy as np
from benchmark_files import write_sugarcrepe
from ccneg_files import write_ccneg
from class_files import class_folders
from datasets import Dataset, load_dataset
from other_models import save_other
from PIL import Image
from runs import write_dataset
from tiny import save_tiny

from dataset_scripts.benchmarks.classification import CLASSIFICATION
from dataset_scripts.ccneg_folder import main as write_ccneg_folder

ROOT = Path(__file__).resolve().parents[2]
CLIPS = (
    "openai/clip-vit-base-patch32",
    "outputs/conclip-scenes",
    "outputs/scenes-base-0",
    "outputs/mine",
    "me/conclip",
    "conclip-scenes",
)
THINGS = "dog cat man woman horse child bird car".split()
PLACES = "grass water table ball street".split()


def write_images(folder: Path, names: list[str]) -> None:
    """Images of random blocks of colour, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = np.random.default_rng(sum(name.encode())).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40), Image.Resampling.NEAREST).save(folder / name)


def captions(count: int) -> list[str]:
    return [
        f"A {THINGS[row % len(THINGS)]} is running near the {PLACES[row % len(PLACES)]} with a red ball."
        for row in range(count)
    ]


def write_coco(folder: Path, count: int = 12) -> None:
    """COCO train2017 as its authors distribute it."""
    names = [f"{number:012}.jpg" for number in range(1, count + 1)]
    write_images(folder / "train2017", names)
    images = [{"id": number, "file_name": name} for number, name in enumerate(names, start=1)]
    texts = [
        {"image_id": number, "id": number, "caption": f"a {PLACES[number % 5]}"} for number in range(1, count + 1)
    ]
    (folder / "annotations").mkdir()
    content = json.dumps({"images": images, "annotations": texts})
    (folder / "annotations" / "captions_train2017.json").write_text(content)


def write_benchmarks(folder: Path) -> None:
    write_sugarcrepe(folder)
    files = [json.loads(path.read_text()) for path in folder.glob("sugarcrepe*/*.json")]
    rows = [row for rows in files for row in (rows.values() if isinstance(rows, dict) else rows)]
    write_images(folder / "coco" / "val2017", sorted({row["filename"] for row in rows}))
    cifar = next(benchmark for benchmark in CLASSIFICATION if benchmark.name == "cifar10")
    classes = "airplane automobile bird cat deer dog frog horse ship truck".split()
    class_folders(folder / cifar.name, {name: ["0.png"] for name in classes})


def write_negations(folder: Path) -> None:
    """What `conclip negate` writes with distractors, as far as training reads it."""
    scenes = write_dataset(folder.with_name("scenes"))
    for split in ("train", "test"):
        rows: Dataset = load_dataset(str(scenes), split=split)
        rows = rows.add_column("hard_negatives", rows["negated_captions"])
        rows.to_parquet(folder / f"{split}-00000-of-00001.parquet")


def write_workspace(folder: Path) -> Path:
    """What the documents' commands and snippets read, under the names that they use, `my-negations` left out."""
    for seed, name in enumerate(CLIPS):
        save_tiny(folder / name, seed=seed)
    save_other(folder / "google/siglip-base-patch16-224", "siglip")
    write_images(folder, ["image.png", "image.jpg"])
    write_images(folder / "images", [f"{row:03}.jpg" for row in range(24)])
    write_images(folder / "photos", [f"{row:04}.jpg" for row in range(8)])
    (folder / "my-conclip").mkdir()
    shutil.copy(ROOT / "model_card.md", folder / "my-conclip" / "README.md")
    lines = [{"image": f"{row:03}.jpg", "caption": caption} for row, caption in enumerate(captions(24))]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    write_coco(folder / "coco")
    write_ccneg(folder / "CC-Neg")
    arguments = ["--data_dir", folder / "CC-Neg", "--coco_dir", folder / "coco", "--output_dir", folder / "ccneg"]
    assert write_ccneg_folder([*map(str, arguments)]) == 0
    write_benchmarks(folder / "data")
    for name in ("evaluate", "recipes"):
        (folder / name).symlink_to(ROOT / name)
    return folder
