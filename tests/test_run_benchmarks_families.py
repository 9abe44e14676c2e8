"""Other families than CLIP through evaluate/run_benchmarks.py, against transformers' own forward, item by item."""

import json
from pathlib import Path

import pytest
import torch
from benchmark_runs import evaluate_models, items_of, report_of
from other_models import save_other
from PIL import Image
from test_run_benchmarks import data  # noqa: F401 (a fixture)
from transformers import AutoImageProcessor, AutoModel, AutoProcessor, AutoTokenizer, BlipForImageTextRetrieval


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
    evaluate_models([tmp_path / "siglip", tmp_path / "align"], ["sugarcrepe"], data, tmp_path / "out", save_items=True)
    for family in ("siglip", "align"):
        parts = (cls.from_pretrained(tmp_path / family) for cls in (AutoModel, AutoImageProcessor, AutoTokenizer))
        model, image_processor, tokenizer = parts
        length = model.config.text_config.max_position_embeddings
        padding = (
            {"padding": "max_length", "max_length": length, "padding_side": "right"}
            if family == "siglip"
            else {"padding": True}
        )
        items = items_of(tmp_path / "out", family, "sugarcrepe")
        for (image, captions), item in zip(rows_of(data), items, strict=False):
            tokens = tokenizer(captions, return_tensors="pt", **padding)
            if family == "siglip":
                tokens.pop("attention_mask", None)
            pixels = image_processor(image.convert("RGB"), return_tensors="pt")["pixel_values"]
            output = model.eval()(pixel_values=pixels, **tokens)
            expected = torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds)
            assert item["scores"][0] == pytest.approx(expected.tolist(), abs=1e-5), family


@torch.no_grad()
def test_blip_by_both_scores(data, tmp_path):  # noqa: F811
    save_other(tmp_path / "blip", "blip")
    evaluate_models([tmp_path / "blip"], ["sugarcrepe"], data, tmp_path / "out", save_items=True)
    model = BlipForImageTextRetrieval.from_pretrained(tmp_path / "blip").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "blip")
    contrastive, matching = (items_of(tmp_path / "out", f"blip ({name})", "sugarcrepe") for name in ("ITC", "ITM"))
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
    evaluate_models([tmp_path / "blip"], ["coco-val2017-retrieval"], data, tmp_path / "out")
    key = ("coco-val2017-retrieval", "text-to-image recall@1", "")
    assert report_of(tmp_path / "out", "blip (ITM)")[key] is None
    assert 0 <= report_of(tmp_path / "out", "blip (ITC)")[key] <= 1
