"""Other families than CLIP through evaluate/run_benchmarks.py, against transformers' own forward, item by item."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from benchmark_runs import evaluate_models, report_of, samples_of
from other_models import save_other
from PIL import Image
from transformers import (
    AddedToken,
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    BlipForImageTextRetrieval,
)

from conclip.errors import UsageError
from conclip.models.cached_encoder import encoder_tokens, token_keys, tokenizer_state
from conclip.models.loading import load_dual_encoder


def rows_of(folder: Path) -> list[tuple[Image.Image, list[str]]]:
    """Image and captions of SugarCrepe's first file."""
    rows = json.loads((folder / "sugarcrepe" / "add_att.json").read_text()).values()
    return [
        (Image.open(folder / "coco" / "val2017" / row["filename"]), [row["caption"], row["negative_caption"]])
        for row in rows
    ]


@torch.no_grad()
def test_siglip_and_align(data, tmp_path):  # noqa: F811
    for family in ("siglip", "align"):
        save_other(tmp_path / family, family)
    evaluate_models(
        [tmp_path / "siglip", tmp_path / "align"], ["sugarcrepe"], data, tmp_path / "out", log_samples=True
    )
    for family in ("siglip", "align"):
        parts = (cls.from_pretrained(tmp_path / family) for cls in (AutoModel, AutoImageProcessor, AutoTokenizer))
        model, image_processor, tokenizer = parts
        length = model.config.text_config.max_position_embeddings
        padding = (
            {"padding": "max_length", "max_length": length, "padding_side": "right"}
            if family == "siglip"
            else {"padding": True}
        )
        items = samples_of(tmp_path / "out", family, "sugarcrepe")
        for (image, captions), item in zip(rows_of(data), items, strict=False):
            tokens = tokenizer(captions, return_tensors="pt", **padding)
            if family == "siglip":
                tokens.pop("attention_mask", None)
            pixels = image_processor(image.convert("RGB"), return_tensors="pt")["pixel_values"]
            output = model.eval()(pixel_values=pixels, **tokens)
            expected = torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds)
            assert item["scores"][0] == pytest.approx(expected.tolist(), abs=1e-5), family


@pytest.mark.parametrize("family", ["siglip", "blip", "flava"])
def test_a_processor_of_another_image_size_is_refused(family, tmp_path):
    save_other(tmp_path / family, family)
    found = AutoImageProcessor.from_pretrained(tmp_path / family)
    found.size = found.crop_size = {"height": 40, "width": 40}
    for name in ("processor_config.json", "preprocessor_config.json"):
        (tmp_path / family / name).unlink(missing_ok=True)
    found.save_pretrained(tmp_path / family)
    with pytest.raises(UsageError, match=r"makes images of 40 x 40 pixels, but its model takes (\d+) x \1"):
        load_dual_encoder(str(tmp_path / family))


@torch.no_grad()
def test_blip_by_both_scores(data, tmp_path):  # noqa: F811
    save_other(tmp_path / "blip", "blip")
    evaluate_models([tmp_path / "blip"], ["sugarcrepe"], data, tmp_path / "out", log_samples=True)
    model = BlipForImageTextRetrieval.from_pretrained(tmp_path / "blip").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "blip")
    contrastive, matching = (samples_of(tmp_path / "out", f"blip ({name})", "sugarcrepe") for name in ("ITC", "ITM"))
    for (image, captions), itc, itm in zip(rows_of(data), contrastive, matching, strict=False):
        for place, caption in enumerate(captions):
            inputs = processor(images=image.convert("RGB"), text=caption, return_tensors="pt")
            assert itc["scores"][0][place] == pytest.approx(
                model(**inputs, use_itm_head=False).itm_score.item(), abs=1e-5
            )
            no_match, match = model(**inputs).itm_score[0].tolist()
            assert itm["scores"][0][place] == pytest.approx(match - no_match, abs=1e-4)
    assert report_of(tmp_path / "out", "blip (ITC)") != report_of(tmp_path / "out", "blip (ITM)")


def test_a_matching_score_has_no_retrieval(data, tmp_path, capsys):  # noqa: F811
    save_other(tmp_path / "blip", "blip")
    (data / "coco" / "annotations").mkdir(exist_ok=True)
    names = sorted(path.name for path in (data / "coco" / "val2017").iterdir())
    captions = {
        "images": [{"id": at, "file_name": name} for at, name in enumerate(names)],
        "annotations": [{"image_id": at, "id": at, "caption": f"a dog number {at}"} for at in range(len(names))],
    }
    (data / "coco" / "annotations" / "captions_val2017.json").write_text(json.dumps(captions))
    evaluate_models([tmp_path / "blip"], ["coco-val2017-retrieval"], data, tmp_path / "out", log_samples=True)
    assert [path.parent.name for path in (tmp_path / "out" / "samples").rglob("*.jsonl")] == ["blip (ITC)"]
    key = ("coco-val2017-retrieval", "text-to-image recall@1", "")
    assert report_of(tmp_path / "out", "blip (ITM)")[key] is None
    assert 0 <= report_of(tmp_path / "out", "blip (ITC)")[key] <= 1


def test_the_state_of_a_sentencepiece_tokenizer_holds_its_model_and_tokens():
    """As SigLIP's, which has nothing of the `tokenizers` library."""

    def made(model: bytes = b"pieces", added: str = "</s>", lower: bool = True):
        pieces = SimpleNamespace(serialized_model_proto=lambda: model)
        return SimpleNamespace(sp_model=pieces, added_tokens_decoder={1: AddedToken(added)}, do_lower_case=lower)

    states = [tokenizer_state(made(**change)) for change in ({}, {"model": b"q"}, {"added": "x"}, {"lower": False})]
    assert len(set(states)) == 4 and tokenizer_state(made()) == states[0]


def test_what_a_model_reads_of_a_text_does_not_depend_on_its_neighbours(tmp_path):
    texts = ["a cat", "a red dog and a cat", "A CAT", "dog"]
    for family in ("align", "siglip"):
        save_other(tmp_path / family, family)
        encoder = load_dual_encoder(str(tmp_path / family))
        together, alone = (token_keys(encoder_tokens(encoder.tokenize, texts, size)) for size in (4, 1))
        assert np.array_equal(together, alone) and together.shape == (4, 16) and together.dtype == np.uint8
        assert [len(np.unique(keys, axis=0)) for keys in (together, together[[0, 2]])] == [3, 1], family
        padded = encoder.tokenize(texts[:1])["input_ids"][0].numpy()
        assert np.array_equal(next(encoder_tokens(encoder.tokenize, texts[:1], 1)), padded)
