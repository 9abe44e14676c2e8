"""How images and texts are prepared: `--preprocessing` and `--clean_text` through the command."""

import json

import numpy as np
import pytest
import torch
from accelerate_state import reset_accelerate
from benchmark_runs import evaluate_models, refusal, report_of, samples_of
from other_models import save_other
from PIL import ExifTags, Image
from tiny import save_tiny, tiny_processor

from conclip.errors import UsageError
from conclip.evaluation import evaluate_model
from conclip.models.openai_pixels import openai_pixels
from modeling_conclip import ConCLIPModel

CAPTIONS = ("a red cat", "no green dog")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny(folder, seed=3)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """
    Two items of two images each. Resized to 32 pixels the images are 43 wide: the crop begins at 5.5 pixels. One has
    an EXIF orientation.
    """
    folder = tmp_path_factory.mktemp("data") / "mine"
    (folder / "images").mkdir(parents=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for seed, name in enumerate(["a.png", "b.jpg"]):
        pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((65, 48), Image.Resampling.NEAREST)
        image.save(folder / "images" / name, **({"exif": exif} if name == "b.jpg" else {}))
    texts = [CAPTIONS, ("a cat &amp; a dog", "a cat & a  dog")]
    rows = [
        {"id": row, "image_0": "a.png", "image_1": "b.jpg", "caption_0": one, "caption_1": other}
        for row, (one, other) in enumerate(texts)
    ]
    (folder / "examples.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def scores(files, model, output_dir, **options) -> np.ndarray:
    """Return the scores of the first item, (images, captions)."""
    evaluate_models([model], [f"two_by_two:{files}"], files, output_dir, log_samples=True, **options)
    return np.array(samples_of(output_dir, "tiny", "mine")[0]["scores"])


@torch.no_grad()
def expected_scores(files, model, pixels) -> np.ndarray:
    clip, processor = ConCLIPModel.from_pretrained(model).eval(), tiny_processor()
    images = clip.get_image_features(pixel_values=pixels).pooler_output
    tokens = processor(text=[*CAPTIONS], padding="max_length", max_length=77, return_tensors="pt")
    texts = clip.get_text_features(**tokens).pooler_output
    unit = [torch.nn.functional.normalize(features, dim=1) for features in (images, texts)]
    return (unit[0] @ unit[1].T).numpy()


def test_openai_preprocessing_reads_images_as_stored_and_has_embeddings_of_its_own(files, model, tmp_path, capsys):
    opened = [Image.open(files / "images" / name) for name in ("a.png", "b.jpg")]
    own = openai_pixels(tiny_processor().image_processor, "")(opened)
    upright = [opened[0], opened[1].transpose(Image.Transpose.ROTATE_270)]
    default = tiny_processor()(images=upright, return_tensors="pt")["pixel_values"]
    cache = {"embedding_cache_dir": tmp_path / "cache"}
    found = scores(files, model, tmp_path / "default", **cache)
    assert found == pytest.approx(expected_scores(files, model, default), abs=1e-5)
    table = capsys.readouterr().out
    assert "Images: preprocessed by transformers; OpenAI's code crops one in four shapes a pixel further" in table
    # With the same cache: none of the embeddings above may be used.
    others = scores(files, model, tmp_path / "openai", preprocessing="openai", **cache)
    assert others == pytest.approx(expected_scores(files, model, own), abs=1e-5)
    assert (np.abs(found - others).max(axis=1) > 1e-3).all()
    assert "Images: preprocessed as by OpenAI's code" in capsys.readouterr().out
    reports = [json.loads((tmp_path / name / "benchmarks.json").read_text()) for name in ("default", "openai")]
    assert [report["arguments"]["preprocessing"] for report in reports] == ["transformers", "openai"]
    processors = [report["models"]["tiny"]["image_processor"] for report in reports]
    assert processors == ["CLIPImageProcessorPil", "openai"]
    again = scores(files, model, tmp_path / "again", **cache)
    assert np.array_equal(again, found)


def test_a_model_in_memory_takes_both_settings(files, model, tmp_path):
    reset_accelerate()
    report = evaluate_model(
        ConCLIPModel.from_pretrained(model),
        tiny_processor(),
        [f"two_by_two:{files}"],
        cache_dir=str(tmp_path / "cache"),
        samples_dir=tmp_path / "samples",
        name="tiny",
        preprocessing="openai",
        clean_text=False,
    )
    opened = [Image.open(files / "images" / name) for name in ("a.png", "b.jpg")]
    pixels = openai_pixels(tiny_processor().image_processor, "")(opened)
    found = np.array(samples_of(tmp_path, "tiny", "mine")[0]["scores"])
    assert found == pytest.approx(expected_scores(files, model, pixels), abs=1e-5)
    assert [row.ties["tiny"] for row in report.rows if row.metric == "text score" and not row.part] == [0]


def test_texts_are_cleaned_unless_refused(files, model, tmp_path, capsys):
    """The captions of the second item are the same text to OpenAI's tokenizer: a tie."""
    cache = {"embedding_cache_dir": tmp_path / "cache"}
    ties = []
    for value in ("true", "false"):
        evaluate_models([model], [f"two_by_two:{files}"], files, tmp_path / value, clean_text=value, **cache)
        ties.append(report_of(tmp_path / value, whole_rows=True)["mine", "text score", ""]["ties"])
        table = capsys.readouterr().out
        assert ("Texts for CLIP: cleaned as by OpenAI's tokenizer." in table) is (value == "true")
        assert ("Texts: not cleaned (--clean_text false)." in table) is (value == "false")
        assert json.loads((tmp_path / value / "benchmarks.json").read_text())["arguments"]["clean_text"] is (
            value == "true"
        )
    assert ties == [{"tiny": 1}, {"tiny": 0}]


def test_openai_preprocessing_is_for_clip_alone(files, tmp_path, capsys):
    save_other(tmp_path / "siglip", "siglip")
    message = refusal(
        [tmp_path / "siglip"], [f"two_by_two:{files}"], files, tmp_path / "out", capsys, preprocessing="openai"
    )
    assert message == (
        f"--preprocessing openai: {tmp_path / 'siglip'} is a siglip model; evaluate it without this option, which is "
        "for CLIP models."
    )
    with pytest.raises(UsageError, match="preprocessing='open_clip': it has to be one of transformers, openai"):
        evaluate_model("some/model", preprocessing="open_clip")
