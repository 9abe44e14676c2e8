"""
Demo in the browser: what CLIP and ConCLIP find for a query with "no", and how they score captions of an image.

Install the extra first, `pip install ".[demo]"`, then run `python app.py`. By default it shows the models of the
default run (`accelerate launch train_accelerate.py`) on the scenes. With options it shows two other models, or other
images:

    python app.py --model_name_or_path me/conclip --base_model_name_or_path openai/clip-vit-base-patch32 \\
        --image_dir photos

In a Space of the Hub, write the options into a file `app.yaml` beside this one.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conclip.cli import Parser, option
from conclip.embedding.image_modes import to_rgb
from conclip.errors import UsageError
from conclip.models.arguments import start_accelerator
from conclip.runtime import run_command
from conclip.search.page import as_data_uri

if TYPE_CHECKING:
    import gradio
    import PIL.Image
    import torch
    from datasets import Dataset

    from conclip.models.cached_encoder import CachedEncoder

# Options of a Space, where nobody types a command line.
SPACE_OPTIONS = Path(__file__).with_name("app.yaml")
OUTPUTS = Path("outputs")
# The queries of the default run's figure, rankings.png.
SCENES_EXAMPLES = ["a square but no black star", "a square and no red circle", "a triangle with no green square"]
EXAMPLES = ["a street with no cars", "a dog but no ball", "a man not wearing a hat"]
# Pixels of the longer side of the images in the page.
THUMBNAIL = 256
# By which CLIP multiplies cosine similarities. One for both models, so that their bars can be compared.
SCALE = 100.0
CSS = """
.gradio-container { max-width: 1100px !important; margin: auto }
.found h4 { margin: 0 0 8px }
.found ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(60px, 1fr)); gap: 6px; list-style: none;
  padding: 0; margin: 0 }
.found li { margin: 0; text-align: center; font-size: 12px; line-height: 1.5 }
.found img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 4px; margin: 0; display: block }
.found .false { color: #c2410c; font-weight: 600 }
.dark .found .false { color: #fdba74 }
@media (min-width: 640px) { .found ol { grid-template-columns: repeat(auto-fill, minmax(100px, 1fr)) } }
"""


@dataclass
class DemoArguments:
    model_name_or_path: str | None = option(
        None, "fine-tuned model: folder or Hub id; by default, the second model of the default run, in outputs/"
    )
    base_model_name_or_path: str | None = option(
        None, "model to compare it with: folder or Hub id; by default, the base of the default run, in outputs/"
    )
    image_dir: str | None = option(None, "folder of images, whose subfolders are not read; by default, the scenes")
    max_images: int = option(2000, "number of images, the first of the folder by name", at_least=1)
    top: int = option(8, "number of images shown for a query", at_least=1)
    server_name: str | None = option(None, "address that the server listens on, as in Gradio; by default, 127.0.0.1")
    server_port: int | None = option(None, "port, as in Gradio; by default, the first free one from 7860", at_least=1)
    share: bool = option(False, "make a public link, as in Gradio: everyone who has it sees the images")


PARSER = Parser(
    {"Demo": DemoArguments},
    prog="python app.py",
    description="Show in the browser what two models find for a query with and without 'no'.",
    example="python app.py --model_name_or_path me/conclip --base_model_name_or_path openai/clip-vit-base-patch32 "
    "--image_dir photos",
)


@dataclass
class Side:
    """
    One of the two models that the page compares.

    Args:
        name: its heading.
        encoder: embeds texts and images.
        images: float32, (images, d), unit rows.
    """

    name: str
    encoder: CachedEncoder
    images: torch.Tensor


@dataclass
class Found:
    """
    The images that a model ranks first.

    Args:
        text: the query.
        images: their numbers, best first.
        scores: their cosine similarities to the query.
    """

    text: str
    images: list[int]
    scores: list[float]


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    interrupted = "Interrupted. The embeddings computed so far are cached."
    return run_command(lambda: show(argv), interrupted)


def show(argv: list[str]) -> None:
    """Serve the page until Ctrl-C; without options, with those of a Space."""
    (args,) = PARSER.parse(argv or (["--config", str(SPACE_OPTIONS)] if SPACE_OPTIONS.is_file() else []))
    names = models_to_show(args.base_model_name_or_path, args.model_name_or_path)
    page = build_page(names, args.image_dir, args.max_images, args.top)
    page.launch(server_name=args.server_name, server_port=args.server_port, share=args.share, css=CSS)


def models_to_show(base: str | None, model: str | None, outputs: Path = OUTPUTS) -> dict[str, str]:
    """
    Return the heading and the name of the two models; those that are not named are the default run's.

    Raises:
        UsageError: only one is named, or the default run has left none.
    """
    if (base is None) != (model is None):
        raise UsageError("Name both models, --model_name_or_path and --base_model_name_or_path, or neither.")
    if base and model:
        return {"CLIP": base, "ConCLIP": model}
    trained = outputs / "conclip-scenes-distilled"
    bases = sorted(outputs.glob("scenes-base-*"), key=lambda path: path.stat().st_mtime)
    if not trained.is_dir() or not bases:
        raise UsageError(
            f"{outputs}/ has no models of the default run: run `accelerate launch train_accelerate.py` first, or name "
            "two models with --model_name_or_path and --base_model_name_or_path."
        )
    return {"CLIP": str(bases[-1]), "ConCLIP": str(trained)}


def build_page(names: dict[str, str], image_dir: str | None, max_images: int, top: int) -> gradio.Blocks:
    """
    Embed the images with each model and build the page.

    Args:
        names: heading of a model -> folder or Hub id, two of them.
        image_dir: folder of images; `None` for the scenes.
        max_images: number of images, at most.
        top: number of images shown for a query.

    Raises:
        UsageError: Gradio is not installed, there are no images, or a model cannot be loaded.
    """
    try:
        import gradio
    except ImportError as error:
        raise UsageError('The demo needs Gradio, which is not installed: `pip install "conclip[demo]"`.') from error

    from conclip.hub import use_cache_without_network

    use_cache_without_network([*names.values()])
    rows = open_gallery(image_dir, max_images)
    sides = [load_side(heading, name, rows) for heading, name in names.items()]
    objects = rows["objects"] if "objects" in rows.column_names else None
    examples = EXAMPLES if objects is None else SCENES_EXAMPLES
    thumbnails = Thumbnails(rows)

    def search(query: str) -> list:
        if not query.strip():
            raise gradio.Error(f"Type a query, such as: {examples[0]}")
        texts = [query.strip(), *affirmed(query.strip())]
        for sentence in cut_warnings(sides, texts[:1]):
            gradio.Warning(sentence)
        updates = []
        for text in texts:
            ranked = [as_html(side.name, rank(side, text, top), thumbnails, objects) for side in sides]
            updates += [gradio.update(value=value, visible=True) for value in (f"### {text}", *ranked)]
        hidden = [gradio.update(value="", visible=False)] * (len(outputs) - len(updates))
        return [*updates, *hidden]

    def score(image: PIL.Image.Image | None, captions: str) -> list[dict[str, float]]:
        lines = list(dict.fromkeys(line.strip() for line in captions.splitlines() if line.strip()))
        if image is None or len(lines) < 2:
            raise gradio.Error("Upload an image, and type at least two different captions, one on each line.")
        for sentence in cut_warnings(sides, lines):
            gradio.Warning(sentence)
        return [caption_scores(side.encoder, image, lines) for side in sides]

    marks = "" if objects is None else " ✓ and ✗ say whether the query is true of the scene."
    intro = (
        f"# Search with “no”\nThe images that each model ranks first, of {len(rows):,}, with the cosine similarity to "
        f"the query. Below: the same query without “no”.{marks}"
    )
    softmax = f"The softmax of {SCALE:.0f} times the cosine similarities, as in CLIP's zero-shot classification."
    with gradio.Blocks(title="ConCLIP: search with “no”") as page:
        gradio.Markdown(intro)
        with gradio.Tab("Search"):
            with gradio.Row():
                query = gradio.Textbox(examples[0], label="Query", scale=4, min_width=300)
                search_button = gradio.Button("Search", variant="primary", scale=1, min_width=120)
            gradio.Examples([[example] for example in examples], [query])
            outputs = []
            for _ in range(2):
                outputs.append(gradio.Markdown())
                with gradio.Row():
                    outputs += [gradio.HTML(container=True, min_width=120) for _ in sides]
        with gradio.Tab("Captions of an image"):
            with gradio.Row():
                image = gradio.Image(rows[0]["image"], type="pil", label="Image", height=240)
                with gradio.Column():
                    captions = gradio.Textbox(
                        "\n".join(example_captions(rows)), label="Captions, one on each line", lines=4
                    )
                    score_button = gradio.Button("Score", variant="primary")
            with gradio.Row():
                bars = [gradio.Label(label=side.name, show_heading=False) for side in sides]
            gradio.Markdown(softmax)
        gradio.on([search_button.click, query.submit, page.load], search, query, outputs, api_name="search")
        gradio.on([score_button.click, page.load], score, [image, captions], bars, api_name="score")
    return page


def open_gallery(image_dir: str | None, max_images: int) -> Dataset:
    """
    Open the images as rows with a column "image", for the scenes also "caption", "true_negations" and "objects".

    Raises:
        UsageError: the folder has no images.
    """
    from conclip.data import first_rows

    if image_dir is None:
        from dataset_scripts.scenes import load_scenes

        return first_rows(load_scenes("test"), max_images)
    from conclip.models.embed_command import open_images

    return first_rows(open_images(image_dir, None, None, "train", "image")[0].stored.dataset, max_images)


def load_side(heading: str, model_name_or_path: str, rows: Dataset) -> Side:
    """
    Load a model and embed the images with it; embeddings are cached.

    Raises:
        UsageError: the model or an image cannot be loaded.
    """
    from conclip.embedding.image_column import ImageColumn
    from conclip.embedding.images import embedding_cache_dir
    from conclip.models.loading import load_encoders

    loaded = load_encoders(model_name_or_path, start_accelerator(None), embedding_cache_dir())
    images = loaded.encoder.images(ImageColumn(rows, "image", "images"))[:]
    return Side(heading, loaded.encoder, images)


def affirmed(query: str) -> list[str]:
    """
    Return the query with what it denies affirmed: "a dog and no ball" -> ["a dog and a ball"].

    Returns:
        One text; none if the query negates nothing.
    """
    from conclip.negation import parse_query

    parts = parse_query(query)
    if not parts.unwanted:
        return []
    text = parts.wanted.strip(" ,.")
    for phrase in map(with_article, parts.unwanted):
        text = f"{text}{' ' if says_more(phrase) else ' and '}{phrase}" if text else phrase
    return [text]


def says_more(phrase: str) -> bool:
    """Return whether a phrase describes what precedes it, such as "wearing a hat" and "on the beach"."""
    from conclip.negation.lexicon.query_words import PREPOSITIONS
    from conclip.negation.lexicon.words import THINGS_IN_ING

    first, _, rest = phrase.lower().partition(" ")
    place = first in PREPOSITIONS | {"of"} or rest.startswith("of ") and first in ("left", "right")
    return place or first.endswith("ing") and first not in THINGS_IN_ING


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a singular noun: "blue ball" -> "a blue ball", "cars" -> "cars"."""
    from conclip.negation.lexicon.inflection import article, is_mass, is_plural_only, singular

    noun = phrase.split()[-1].lower()
    if says_more(phrase) or singular(noun) != noun or is_plural_only(noun) or is_mass(noun):
        return phrase
    return f"{article(phrase)} {phrase}"


def cut_warnings(sides: list[Side], texts: list[str]) -> list[str]:
    """Return a sentence for each model that does not read all of the texts."""
    from conclip.search.text_encoder import cut_warning

    found = [(side.name, cut_warning(side.encoder.count_cut(texts), side.encoder.max_length)) for side in sides]
    return [f"{name}: {warning}" for name, warning in found if warning]


def rank(side: Side, query: str, top: int) -> Found:
    """Find the `top` images with the highest cosine similarity to a query."""
    scores = side.images @ side.encoder.embed_queries([query])[0]
    best = scores.argsort(descending=True, stable=True)[:top]
    return Found(query, best.tolist(), scores[best].tolist())


def caption_scores(encoder: CachedEncoder, image: PIL.Image.Image, captions: list[str]) -> dict[str, float]:
    """Return the softmax of `SCALE` times the cosine similarities of an image and distinct captions, by caption."""
    cosines = encoder.embed_queries(captions) @ encoder.embed_batch(encoder.to_pixels([image]))[0].cpu()
    return dict(zip(captions, (SCALE * cosines).softmax(dim=0).tolist(), strict=True))


def example_captions(rows: Dataset) -> list[str]:
    """Return the captions to start with, for the first image of the gallery."""
    if "true_negations" not in rows.column_names:
        return ["a dog on a beach", "a beach with no dog"]
    first = rows[0]
    return [
        first["caption"],
        *first["negated_captions"][:1],
        *first["true_negations"][:1],
        *first["true_negation_foils"][:1],
    ]


class Thumbnails(dict):
    """The images of the gallery as small JPEG files in data URIs, made when they are first shown."""

    def __init__(self, rows: Dataset):
        super().__init__()
        self._rows = rows

    def __missing__(self, number: int) -> str:
        self[number] = as_data_uri(to_rgb(self._rows[number]["image"]), THUMBNAIL)
        return self[number]


def true_of(text: str, objects: list[list[str]]) -> list[bool] | None:
    """
    Say of which scenes a text is true; `None` if it is not one of the statements about scenes.

    Args:
        objects: the column "objects" of the scenes.
    """
    from dataset_scripts.scenes_truth import truth

    try:
        return truth([text], objects)[0].tolist()
    except ValueError:
        return None


def as_html(name: str, found: Found, thumbnails: Mapping[int, str], objects: list[list[str]] | None) -> str:
    """
    Return a list of the images that a model ranks first, with their scores.

    Args:
        name: heading of the model.
        thumbnails: number of an image -> the address of its thumbnail.
        objects: for scenes, the objects of each image; the list then also says of which images the text is true.
    """
    true = None if objects is None else true_of(found.text, objects)
    items = []
    for number, score in zip(found.images, found.scores, strict=True):
        alt = f"image {number + 1}" if objects is None else ", ".join(objects[number])
        kind, mark = ("", "") if true is None else ("true", " ✓") if true[number] else ("false", " ✗")
        shown = f'<img src="{thumbnails[number]}" alt="{html.escape(alt)}">'
        items.append(f'<li class="{kind}">{shown}{score:.3f}{mark}</li>')
    return f'<div class="found"><h4>{html.escape(name)}</h4><ol>{"".join(items)}</ol></div>'


if __name__ == "__main__":
    sys.exit(main())
