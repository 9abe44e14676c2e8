"""`--query_arithmetic` and `embed_query`: a row beside each model, and one vector for a search."""

import json
from types import SimpleNamespace

import pytest
import torch
from benchmark_runs import evaluate_models, report_of
from other_models import FAMILIES, save_other
from PIL import Image
from small_benchmarks import plain_scores, write_images
from tiny import save_tiny, tiny_processor

from conclip import embed_query
from conclip.errors import UsageError
from conclip.models.loading import load_dual_encoder
from conclip.negation.arithmetic import QueryArithmetic, SpaceVLM
from modeling_conclip import ConCLIPModel

CAPTIONS = ["a dog on a table", "a table with no dog", "a cat", "no cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny(folder, seed=3)
    return folder


def by_hand(model, processor, rule=QueryArithmetic, **parameters):
    """Query arithmetic on the embeddings of single texts."""

    @torch.no_grad()
    def embed(texts):
        rows = [model.get_text_features(**processor(text=[text], return_tensors="pt")).pooler_output for text in texts]
        return torch.cat(rows)

    return rule(embed, **parameters)


def test_columns_of_query_arithmetic_beside_the_model(folder, tmp_path):
    data = tmp_path / "mine"
    write_images(data / "images", ["a.png", "b.png"])
    row = {"id": 0, "image_0": "a", "image_1": "b", "caption_0": CAPTIONS[0], "caption_1": CAPTIONS[1]}
    other = {"id": 1, "image_0": "b", "image_1": "a", "caption_0": CAPTIONS[2], "caption_1": CAPTIONS[3]}
    (data / "examples.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in (row, other)))
    options = {"log_samples": True, "query_arithmetic": ["ours", "spacevlm"], "query_arithmetic_beta": 0.7}
    labels = ["tiny", "tiny + query arithmetic", "tiny + SpaceVLM's rule"]
    evaluate_models([folder], [f"two_by_two:{data}"], tmp_path, tmp_path / "out", **options)
    samples = {
        path.parent.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in (tmp_path / "out" / "samples").glob("*/mine.jsonl")
    }
    assert samples.keys() == {*labels}
    clip, processor = ConCLIPModel.from_pretrained(folder).eval(), tiny_processor()
    ours, spacevlm = by_hand(clip, processor, beta=0.7)(CAPTIONS), by_hand(clip, processor, SpaceVLM)(CAPTIONS)
    assert not torch.allclose(ours, spacevlm, atol=1e-3)
    for number, item in enumerate((row, other)):
        for side, name in enumerate((item["image_0"], item["image_1"])):
            image = Image.open(data / "images" / f"{name}.png")
            pixels = processor(images=image, return_tensors="pt")["pixel_values"]
            with torch.no_grad():
                vector = torch.nn.functional.normalize(clip.get_image_features(pixels).pooler_output, dim=1)[0]
            for label, texts in zip(labels[1:], (ours, spacevlm), strict=True):
                expected = [float(texts[2 * number + caption] @ vector) for caption in (0, 1)]
                assert samples[label][number]["scores"][side] == pytest.approx(expected, abs=1e-5)
            plain = plain_scores(clip, image, [item["caption_0"], item["caption_1"]])
            assert samples["tiny"][number]["scores"][side] == pytest.approx(plain, abs=1e-5)
            # The first caption of each item negates nothing.
            assert len({samples[label][number]["scores"][side][0] for label in labels}) == 1
    report = json.loads((tmp_path / "out" / "benchmarks.json").read_text())
    of_rules = [report["models"][label].get("query_arithmetic") for label in labels]
    ours = {"rule": "ours", "beta": 0.7, "anchor_weight": 1.0}
    assert of_rules == [None, ours, {"rule": "spacevlm", "threshold": 0.8}]
    assert report_of(tmp_path / "out", whole_rows=True)["mine", "text score", ""]["values"].keys() == samples.keys()


def test_one_query_of_clip(folder):
    clip, processor = ConCLIPModel.from_pretrained(folder).eval(), tiny_processor()
    expected = by_hand(clip, processor)(CAPTIONS)
    torch.testing.assert_close(embed_query(clip, processor, CAPTIONS), expected, rtol=0, atol=1e-5)
    single = embed_query(clip, processor, CAPTIONS[1])
    assert single.shape == (16,) and not single.requires_grad
    torch.testing.assert_close(single, expected[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(embed_query(clip, processor.tokenizer, CAPTIONS[1]), single)
    assert not torch.allclose(embed_query(clip, processor, CAPTIONS[1], beta=2.0), single)


def test_what_is_known_of_a_model_is_not_that_of_its_earlier_weights(folder):
    clip, processor = ConCLIPModel.from_pretrained(folder).eval(), tiny_processor()
    before = embed_query(clip, processor, "no cat")
    with torch.no_grad():
        clip.text_projection.weight.copy_(torch.randn_like(clip.text_projection.weight))
    expected = by_hand(clip, processor)(["no cat"])[0]
    torch.testing.assert_close(embed_query(clip, processor, "no cat"), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(before, expected, atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_query_of_other_families(family, tmp_path):
    save_other(tmp_path, family)
    encoder = load_dual_encoder(str(tmp_path))
    processor = SimpleNamespace(tokenizer=encoder.tokenizer, image_processor=encoder.image_processor)
    found = embed_query(encoder.model, processor, ["a red dog", "a red dog and no cat"])
    plain = torch.nn.functional.normalize(encoder.embed_texts(["a red dog"]), dim=1)
    torch.testing.assert_close(found[:1], plain, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_refuses_other_models():
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=20)
    with pytest.raises(UsageError, match="A bert model cannot embed queries"):
        embed_query(BertModel(config), tiny_processor(), "no cat")
