"""`conclip export`: the encoders equal transformers' classes, in torch here and in onnxruntime in the slow test."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import save_tiny, tiny_model, tiny_tokenizer
from transformers import (
    AutoProcessor,
    CLIPConfig,
    CLIPModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
)

from conclip.__main__ import main
from conclip.models import export_command, onnx_files
from conclip.models.export_command import export_onnx

TEXTS = ["a cat but no dog", "a red circle", "a " * 100]


def export(folder, *options):
    source = str(folder / "clip")
    return main(["export", "--model_name_or_path", source, "--output_dir", str(folder / "out"), *options])


def inputs(count=3, seed=1):
    tokens = tiny_tokenizer()(TEXTS, padding=True, truncation=True, return_tensors="pt")
    pixels = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return tokens["input_ids"], tokens["attention_mask"], pixels


@pytest.fixture
def without_onnx(monkeypatch):
    """The packages of the extra are not there in the default suite; their results are those of the slow test."""
    monkeypatch.setattr(export_command, "require_onnx", lambda: None)
    monkeypatch.setattr(onnx_files, "to_onnx", lambda encoder, config: encoder.name.encode())
    monkeypatch.setattr(onnx_files, "difference", lambda path, encoder, config: 1e-7)


@pytest.mark.parametrize("end", ["its own", "2, as in old configs"])
def test_the_encoders_are_those_of_transformers(tmp_path, end):
    save_tiny(tmp_path, **({} if end == "its own" else {"text": {"eos_token_id": 2}}))
    ids, mask, pixels = inputs()
    model = CLIPModel.from_pretrained(tmp_path).eval()
    both = onnx_files.BothEncoders(model)(ids, pixels, mask)
    expected = model(input_ids=ids, pixel_values=pixels, attention_mask=mask)
    for ours, name in zip(both, onnx_files.BothEncoders.outputs, strict=True):
        torch.testing.assert_close(ours, expected[name], atol=1e-6, rtol=1e-6)
    texts = CLIPTextModelWithProjection.from_pretrained(tmp_path).eval()(input_ids=ids, attention_mask=mask)
    images = CLIPVisionModelWithProjection.from_pretrained(tmp_path).eval()(pixel_values=pixels)
    torch.testing.assert_close(onnx_files.TextEncoder(model)(ids, mask), texts.text_embeds)
    torch.testing.assert_close(onnx_files.ImageEncoder(model)(pixels), images.image_embeds)


def test_a_text_cut_by_transformers_js_is_embedded_as_by_transformers():
    """Transformers.js keeps the first 77 tokens, transformers the first 76 and the end token."""
    model = tiny_model(CLIPModel)
    ids, mask, _ = inputs()
    assert ids.shape == (3, 77) and ids[2, -1] == ids[0, -1]
    cut = tiny_tokenizer()(TEXTS[2], truncation=False, return_tensors="pt")["input_ids"][:, :77]
    assert ids[2, -1] != cut[0, -1]
    encoder = onnx_files.TextEncoder(model)
    torch.testing.assert_close(encoder(cut, torch.ones_like(cut)), encoder(ids, mask)[2:])


def test_the_folder_has_what_transformers_js_reads(tmp_path, capsys, without_onnx):
    save_tiny(tmp_path / "clip", distractor_weight=0.5)
    assert export(tmp_path) == 0
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {
        *("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"),
        *("preprocessor_config.json", "processor_config.json"),
        *("onnx/model.onnx", "onnx/text_model.onnx", "onnx/vision_model.onnx"),
    }
    assert (tmp_path / "out/onnx/text_model.onnx").read_bytes() == b"text_model"
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["architectures"] == ["CLIPModel"] and config["model_type"] == "clip"
    assert config["transformers.js_config"] == {"dtype": "fp32"}
    assert "auto_map" not in config and "distractor_weight" not in config
    # The same encoders as those of the model.
    source = json.loads((tmp_path / "clip/config.json").read_text())
    assert config["projection_dim"] == source["projection_dim"]
    for part in ("text_config", "vision_config"):
        assert source[part].items() <= config[part].items()
    assert CLIPConfig.from_pretrained(tmp_path / "out").text_config.eos_token_id == tiny_tokenizer().eos_token_id
    assert (
        "onnx/model.onnx: 5 bytes, its embeddings differ from PyTorch's by at most 1.0e-07" in capsys.readouterr().out
    )


def test_an_earlier_export_is_replaced_on_request_alone(tmp_path, capsys, without_onnx):
    save_tiny(tmp_path / "clip")
    (tmp_path / "out/onnx").mkdir(parents=True)
    (tmp_path / "out/onnx/model_quantized.onnx").write_text("of another model")
    assert export(tmp_path) == 1
    assert "holds a model; add --overwrite" in capsys.readouterr().err
    assert export(tmp_path, "--overwrite") == 0
    assert not (tmp_path / "out/onnx/model_quantized.onnx").exists()


def test_a_file_that_differs_from_pytorch_is_not_kept(tmp_path, capsys, monkeypatch, without_onnx):
    save_tiny(tmp_path / "clip")
    for wrong in (2e-4, float("nan")):
        monkeypatch.setattr(onnx_files, "difference", lambda path, encoder, config, wrong=wrong: wrong)
        assert export(tmp_path) == 1
        error = capsys.readouterr().err
        assert "text_model.onnx: the embeddings of onnxruntime differ from PyTorch's" in error
        assert not list((tmp_path / "out").iterdir())


def test_what_onnx_cannot_hold_is_refused(tmp_path, capsys, monkeypatch, without_onnx):
    save_tiny(tmp_path / "clip")
    monkeypatch.setattr(onnx_files, "LARGEST_FILE", 1000)
    assert export(tmp_path) == 1
    assert "and an ONNX file holds at most 1.0 kB: export a smaller model." in capsys.readouterr().err


def test_a_missing_package_is_named(tmp_path, capsys, monkeypatch):
    save_tiny(tmp_path / "clip")
    monkeypatch.setattr(export_command, "find_spec", lambda name: None if name == "onnxscript" else name)
    # It is said before torch is imported, which takes seconds.
    monkeypatch.setitem(sys.modules, "conclip.models.clip", None)
    assert export(tmp_path) == 1
    assert 'conclip export needs onnxscript: pip install "conclip[onnx]".' in capsys.readouterr().err


@pytest.mark.parametrize("texts", [1, 2, 5])
def test_example_texts_end_as_the_model_expects(texts):
    config = tiny_model().config
    found = onnx_files.example_inputs(config, texts, length=6, images=2)
    end = config.text_config.eos_token_id
    for row, mask in zip(found["input_ids"].tolist(), found["attention_mask"].tolist(), strict=True):
        assert row[row.index(end) :] == [end] * (6 - row.index(end)) and row.index(end) > 0
        assert mask == [int(column <= row.index(end)) for column in range(6)]
    assert found["pixel_values"].shape == (2, 3, 32, 32)


@pytest.mark.slow
def test_onnxruntime_gives_the_embeddings_of_transformers(tmp_path):
    import onnxruntime

    save_tiny(tmp_path / "clip")
    found = export_onnx(str(tmp_path / "clip"), tmp_path / "out", quantize=True)
    names = {"text_model", "vision_model", "model"}
    assert found.keys() == {f"{name}{kind}.onnx" for name in names for kind in ("", "_quantized")}
    assert all(value < (0.1 if "quantized" in name else 1e-5) for name, value in found.items())
    sessions = {
        name: onnxruntime.InferenceSession(tmp_path / f"out/onnx/{name}.onnx", providers=["CPUExecutionProvider"])
        for name in names
    }
    model = CLIPModel.from_pretrained(tmp_path / "clip").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    for texts, images in ((TEXTS[:1], 4), (TEXTS, 1), (TEXTS[:2], 2)):
        tokens = processor.tokenizer(texts, padding=True, truncation=True, return_tensors="np")
        pixels = np.random.default_rng(0).normal(size=(images, 3, 32, 32)).astype(np.float32)
        given = {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"], "pixel_values": pixels}
        with torch.no_grad():
            expected = model(**{name: torch.from_numpy(value) for name, value in given.items()})
        for name, session in sessions.items():
            wanted = [node.name for node in session.get_outputs()]
            got = session.run(None, {node.name: given[node.name] for node in session.get_inputs()})
            for key, value in zip(wanted, got, strict=True):
                reference = expected[key].numpy()
                if name != "model":
                    value = value / np.linalg.norm(value, axis=1, keepdims=True)
                np.testing.assert_allclose(value, reference, atol=1e-4, rtol=0, err_msg=f"{name}: {key}")


def test_the_models_own_folder_is_refused(tmp_path, capsys):
    save_tiny(tmp_path / "clip")
    arguments = ["export", "--model_name_or_path", str(tmp_path / "clip"), "--output_dir", str(tmp_path / "clip")]
    assert main([*arguments, "--overwrite"]) == 1
    assert "is the model's own folder: choose another." in capsys.readouterr().err
    assert Path(tmp_path / "clip/model.safetensors").is_file()
