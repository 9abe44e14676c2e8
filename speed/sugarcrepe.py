"""
Time SugarCrepe with the parts of `conclip evaluate` against the usual loop over its files:

    python -m speed.sugarcrepe --data_dir data --tokenizer_name openai/clip-vit-base-patch32

The loop takes one item at a time, both captions padded to 77 tokens, and embeds the image again for every item. It is
timed over a sample of items from all files, and the seconds per item are compared. Ours scores all items from an empty
cache. If images are missing, those of `--image_dir` stand in for them in turn. With `--distinct` each of these files
gets bytes of its own, so that 1,560 different images are embedded, the number that SugarCrepe has. Before timing, the
script checks that both ways give the sampled items the same scores.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from transformers import AutoTokenizer, CLIPModel, PreTrainedTokenizerBase

from conclip.embedding.images import ImageEmbedder
from conclip.embedding.tokens import TextTokenizer
from conclip.evaluation.items import ItemReader
from conclip.evaluation.score_items import score_items
from conclip.evaluation.scorers import EmbeddingScorer
from conclip.models.cached_encoder import cached_clip
from conclip.runtime import return_large_blocks
from dataset_scripts.benchmarks.sugarcrepe import SUGARCREPE
from modeling_conclip import ConCLIPModel
from speed.models import SIZES, as_conclip, image_processor, make_model
from speed.paired import as_text, machine, time_in_turns, write_json

MOST_DIFFERENCE = 1e-5


def stand_ins(data_dir: Path, image_dir: Path, folder: Path, distinct: bool) -> Path:
    """Return a folder with the annotations of `data_dir` and an image for every file they name."""
    (folder / "val2017").mkdir(parents=True)
    (folder / "sugarcrepe").symlink_to((data_dir / "sugarcrepe").resolve())
    names = sorted({Path(item["images"][0]).name for item in SUGARCREPE.read(folder)})
    files = cycle(sorted(image_dir.glob("*.jpg")))
    for name, file in zip(names, files, strict=False):
        # A decoder ignores bytes after the end of a JPEG.
        own = name.encode() if distinct else b""
        (folder / "val2017" / name).write_bytes(file.read_bytes() + own)
    return folder


@torch.no_grad()
def usual_loop(model: CLIPModel, tokenizer, items: list[dict]) -> np.ndarray:
    """Return float64, (items, 2): cosines of the image with its captions."""
    processor, scores = image_processor(), []
    for item in items:
        image = Image.open(item["images"][0]).convert("RGB")
        pixels = processor(image, return_tensors="pt")["pixel_values"].to(model.device)
        tokens = tokenizer(
            item["captions"], padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        ).to(model.device)
        image_embeds = model.get_image_features(pixel_values=pixels).pooler_output
        text_embeds = model.get_text_features(**tokens).pooler_output
        cosines = torch.nn.functional.cosine_similarity(image_embeds, text_embeds)
        scores.append(cosines.double().cpu().numpy())
    return np.stack(scores)


def ours(model: ConCLIPModel, tokenizer, reader: ItemReader, accelerator: Accelerator, batch_size: int) -> np.ndarray:
    """Return the same for all items, from an empty cache."""
    config, collected = model.config.text_config, []
    with tempfile.TemporaryDirectory() as cache:
        embedder = ImageEmbedder(image_processor(), accelerator, batch_size, 0, Path(cache))
        own_tokenizer = TextTokenizer(tokenizer, config.max_position_embeddings, config.eos_token_id)
        scorer = EmbeddingScorer(cached_clip(model, own_tokenizer, embedder, batch_size))
        score_items(reader, scorer, lambda samples: collected.extend(sample["scores"] for sample in samples))
    return np.concatenate(collected)


@dataclass
class Setup:
    """Both ways to score, with the same model, items and tokenizer."""

    plain: CLIPModel
    tokenizer: PreTrainedTokenizerBase
    reader: ItemReader
    accelerator: Accelerator
    batch_size: int

    def __post_init__(self):
        self.model = as_conclip(self.plain).to(self.plain.device).eval()

    def usual_loop(self, items: list[dict]) -> np.ndarray:
        return usual_loop(self.plain, self.tokenizer, items)

    def ours(self) -> np.ndarray:
        return ours(self.model, self.tokenizer, self.reader, self.accelerator, self.batch_size)


def load(options: argparse.Namespace, data_dir: Path) -> Setup:
    accelerator, tokenizer = Accelerator(), AutoTokenizer.from_pretrained(options.tokenizer_name)
    plain = make_model(options.model).to(accelerator.device).eval()
    # The tokenizer may be another than CLIP's own.
    plain.config.text_config.eos_token_id = plain.text_model.eos_token_id = tokenizer.eos_token_id
    return Setup(plain, tokenizer, ItemReader(SUGARCREPE, data_dir), accelerator, options.batch_size)


def check_equal(setup: Setup, some: np.ndarray, items: list[dict]) -> float:
    """Return the largest difference of the scores of some items; exit if it is too large."""
    difference = float(np.abs(setup.ours()[some] - setup.usual_loop([items[at] for at in some])).max())
    print(f"Largest difference of {2 * len(some):,} scores: {difference:.1e}")
    if not difference <= MOST_DIFFERENCE:
        sys.exit("The two ways do not compute the same scores.")
    return difference


def time_both(setup: Setup, some: np.ndarray, items: list[dict], rounds: int) -> dict:
    """Return the result of `time_in_turns` in seconds for all items; the loop is extrapolated from some items."""
    chosen = [items[at] for at in some]
    times = time_in_turns(setup.ours, lambda: setup.usual_loop(chosen), rounds, setup.accelerator.device.type)
    share = len(items) / len(some)
    ratio = {name: value * share for name, value in times["ratio"].items()}
    return {**times, "reference_s": [seconds * share for seconds in times["reference_s"]], "ratio": ratio}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit-base-patch32", choices=SIZES)
    parser.add_argument(
        "--data_dir", type=Path, default=Path("data"), help="Folder of the benchmarks, see `conclip evaluate`."
    )
    parser.add_argument("--image_dir", type=Path, help="Folder of JPEGs that stand in for COCO's.")
    parser.add_argument("--distinct", action="store_true", help="Make every stand-in a different image.")
    parser.add_argument("--tokenizer_name", required=True, help="Tokenizer of CLIP: folder or Hub id.")
    parser.add_argument("--loop_items", type=int, default=100)
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output_file", default="outputs/benchmarks/sugarcrepe.json")
    options = parser.parse_args(argv)
    return_large_blocks()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = options.data_dir
        if options.image_dir:
            data_dir = stand_ins(data_dir, options.image_dir, Path(folder) / "data", options.distinct)
        setup = load(options, data_dir)
        items = list(setup.reader)
        some = np.linspace(0, len(items) - 1, options.loop_items).astype(int)
        images = len({item["images"][0] for item in items})
        print(f"{len(items):,} items, {images:,} images")
        difference = check_equal(setup, some, items)
        times = time_both(setup, some, items, options.rounds)
    print(f"{options.model}, SugarCrepe: the usual loop takes {as_text(times['ratio'])} as long as ours")
    result = {"options": {name: str(value) for name, value in vars(options).items()}, "items": len(items)}
    result |= {"images": images, "largest_difference": difference}
    write_json({**result, **machine(setup.accelerator.device.type), **times}, options.output_file)


if __name__ == "__main__":
    main()
