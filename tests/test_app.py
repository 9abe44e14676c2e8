"""The demo: what it ranks and scores, what it refuses, and the page in a browser."""

import html
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from tiny import IMAGE_SIZE, TEXT_LENGTH, save_tiny
from transformers import CLIPModel, CLIPProcessor

import app
from dataset_scripts.scenes import load_scenes

QUERY = "a square but no black star"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_tiny(folder / "base", seed=0)
    save_tiny(folder / "tuned", seed=1)
    return {"CLIP": str(folder / "base"), "ConCLIP": str(folder / "tuned")}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    sizes = {"train": 16, "test": 16}
    return load_scenes("test", split_sizes=sizes, cache_dir=str(tmp_path_factory.mktemp("scenes")))


@pytest.fixture
def side(models, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(app, "start_accelerator", lambda _: Accelerator(cpu=True))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    return app.load_side("ConCLIP", models["ConCLIP"], rows)


def transformers_cosines(name, texts, images):
    """Cosine similarities, (images, texts), by transformers alone."""
    model, processor = CLIPModel.from_pretrained(name), CLIPProcessor.from_pretrained(name)
    with torch.no_grad():
        inputs = processor(text=texts, images=images, return_tensors="pt", padding=True)
        output = model(**inputs)
    return output.image_embeds @ output.text_embeds.T


def test_images_are_ranked_by_cosine_similarity(side, models, rows):
    found = app.rank(side, QUERY, 5)
    scores = transformers_cosines(models["ConCLIP"], [QUERY], rows["image"][:])[:, 0]
    assert found.images == scores.argsort(descending=True)[:5].tolist()
    np.testing.assert_allclose(found.scores, scores.sort(descending=True).values[:5], atol=1e-5)


def test_queries_are_embedded_in_their_order_and_not_cached(side, tmp_path):
    texts = ["no dog", "a red circle", "a cat and a dog", "a cat"]
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    found = side.encoder.embed_queries(texts)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
    alone = torch.stack([side.encoder.texts([text])[0] for text in texts])
    assert torch.pdist(alone).min() > 1e-3
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)


def test_captions_have_clips_zero_shot_probabilities(side, models):
    captions = ["a red ball", "no ball", "a dog"]
    image = Image.effect_noise((IMAGE_SIZE, IMAGE_SIZE), 60).convert("RGB")
    expected = (100 * transformers_cosines(models["ConCLIP"], captions, [image])[0]).softmax(dim=0)
    found = app.caption_scores(side.encoder, image, captions)
    assert list(found) == captions
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-4)


def test_texts_that_are_cut_are_said(side):
    # Two of the tokens are the start and the end of a text.
    whole, longer = "a " * (TEXT_LENGTH - 2), "a " * (TEXT_LENGTH - 1)
    assert app.cut_warnings([side], [whole, QUERY]) == []
    assert app.cut_warnings([side], [longer, whole, f"{longer} no"]) == [
        f"ConCLIP: 2 texts are cut to {TEXT_LENGTH} tokens, which is all that the model reads."
    ]


@pytest.mark.parametrize(
    "query, expected",
    [
        (QUERY, ["a square and a black star"]),
        ("a street with no cars", ["a street and cars"]),
        ("a man not wearing a hat", ["a man wearing a hat"]),
        ("a dog, not on the beach", ["a dog on the beach"]),
        ("a red cross, not left of a star", ["a red cross left of a star"]),
        ("a person without a hat or gloves", ["a person and a hat and gloves"]),
        ("no umbrella", ["an umbrella"]),
        ("a dog on a beach", []),
    ],
)
def test_the_query_without_its_negation(query, expected):
    assert app.affirmed(query) == expected


def test_scenes_are_marked_true_or_false():
    objects = [
        ["small red star at the top left", "large blue square at the bottom right"],
        ["small black star at the top left", "large blue square at the bottom right"],
    ]
    page = app.as_html("CLIP", app.Found(QUERY, [1, 0], [0.25, 0.125]), {0: "data:0", 1: "data:1"}, objects)
    assert re.findall(r'<li class="(\w+)"><img src="(.*?)".*?>(.*?)</li>', page) == [
        ("false", "data:1", "0.250 ✗"),
        ("true", "data:0", "0.125 ✓"),
    ]
    assert 'alt="small red star at the top left, large blue square at the bottom right"' in page
    free = app.as_html("CLIP", app.Found("sunset", [0], [0.5]), {0: "data:0"}, objects)
    assert "✓" not in free and "✗" not in free and "0.500" in free


def test_what_visitors_type_is_escaped():
    name = "<b>me</b>"
    page = app.as_html(name, app.Found("x", [0], [0.1]), {0: "data:0"}, [['"><script>']])
    assert "<script>" not in page and html.escape(name) in page


def test_thumbnails_are_small_and_made_once(tmp_path):
    class Rows:
        read = 0

        def __getitem__(self, number):
            self.read += 1
            return {"image": Image.new("RGBA", (2000, 1000))}

    rows = Rows()
    thumbnails = app.Thumbnails(rows)
    assert thumbnails[3] == thumbnails[3] and rows.read == 1
    assert thumbnails[3].startswith("data:image/jpeg;base64,") and len(thumbnails[3]) < 10_000


def test_a_mistyped_option_is_answered_without_the_heavy_libraries():
    code = "import app, sys\nassert app.main(['--no_such_option']) == 1\n"
    code += "print({*'torch datasets gradio'.split()} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n" and done.stderr.startswith("Error: unknown option --no_such_option")


def test_both_models_are_named_or_none(tmp_path, capsys):
    assert app.main(["--model_name_or_path", "me/conclip"]) == 1
    assert "Name both models" in capsys.readouterr().err
    with pytest.raises(app.UsageError, match="has no models of the default run: run `accelerate launch"):
        app.models_to_show(None, None, tmp_path)
    (tmp_path / "conclip-scenes-distilled").mkdir()
    (tmp_path / "scenes-base-1").mkdir()
    assert [name.rpartition("/")[2] for name in app.models_to_show(None, None, tmp_path).values()] == [
        "scenes-base-1",
        "conclip-scenes-distilled",
    ]


def test_a_space_reads_its_options_from_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(app, "SPACE_OPTIONS", tmp_path / "app.yaml")
    (tmp_path / "app.yaml").write_text("model_name_or_path: me/conclip\n")
    assert app.main([]) == 1
    assert "Name both models" in capsys.readouterr().err


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(app.UsageError, match="holds no images"):
        app.open_gallery(str(tmp_path), 10)


@pytest.mark.slow
def test_the_page_in_a_browser(models, tmp_path, monkeypatch):
    """A visitor types a query, presses Enter, and scores captions; at the width of a phone nothing is cut off."""
    import shutil

    from playwright.sync_api import expect, sync_playwright

    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    page = app.build_page(models, None, max_images=16, top=4)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, css=app.CSS)
    browser_file = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_file, args=["--no-sandbox", "--disable-gpu"])
            view = browser.new_page(viewport={"width": 390, "height": 844})
            view.goto(address)
            expect(view.get_by_role("heading", name="a square and a black star")).to_be_visible()
            assert view.locator(".found img").count() == 16
            query = view.get_by_label("Query")
            query.fill("a red cross but no white triangle")
            query.press("Enter")
            expect(view.get_by_role("heading", name="a red cross and a white triangle")).to_be_visible()
            expect(view.locator(".found").first).to_contain_text(re.compile("[✓✗]"))
            query.fill("a red cross")
            query.press("Enter")
            expect(view.get_by_role("heading", name="a red cross and a white triangle")).to_be_hidden()
            assert view.evaluate("document.documentElement.scrollWidth") == 390
            tab = view.get_by_role("tab", name="Captions of an image")
            tab.focus()
            tab.press("Enter")
            captions = view.get_by_label("Captions, one on each line")
            captions.fill("a red star\nno red star")
            view.get_by_role("button", name="Score").press("Enter")
            expect(view.get_by_text("no red star").last).to_be_visible()
            shown = view.get_by_test_id("label-output-value").or_(view.locator(".confidence-set"))
            assert "%" in shown.first.inner_text()
            captions.fill("a red star")
            view.get_by_role("button", name="Score").click()
            expect(view.get_by_text("at least two different captions")).to_be_visible()
            browser.close()
    finally:
        page.close()
