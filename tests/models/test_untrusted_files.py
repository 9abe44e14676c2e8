"""Models and arrays that somebody sent run no code; each is refused in one sentence."""

import builtins
import json

import numpy as np
import pytest
import torch
from payload import Payload, payload
from peft import LoraConfig, get_peft_model
from tiny import save_tiny, tiny_model

from conclip.embedding.embedding_files import read_embeddings
from conclip.errors import MORE_THAN_DATA, UsageError
from conclip.models.clip import load_model
from conclip.models.loading import _load_clip

REFUSED = f"a file {MORE_THAN_DATA}"
WEIGHTS = f"{MORE_THAN_DATA}; ask for weights in .safetensors format."


@pytest.fixture
def clip(tmp_path):
    save_tiny(tmp_path / "clip")
    return tmp_path / "clip"


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_weights_of_a_model(how, clip, tmp_path):
    (clip / "model.safetensors").unlink()
    (clip / "pytorch_model.bin").write_bytes(payload(tmp_path / "ran", how))
    with pytest.raises(UsageError) as refused:
        load_model(str(clip))
    weights = clip / "pytorch_model.bin"
    assert str(refused.value) == f"--model_name_or_path {clip} cannot be loaded: {weights} {WEIGHTS}"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_weights_of_adapters(how, clip, tmp_path):
    adapters = tmp_path / "adapters"
    get_peft_model(tiny_model(), LoraConfig(target_modules=["q_proj"])).save_pretrained(adapters)
    (adapters / "adapter_model.safetensors").unlink()
    (adapters / "adapter_model.bin").write_bytes(payload(tmp_path / "ran", how))
    with pytest.raises(UsageError) as refused:
        _load_clip(str(adapters), str(clip), None)
    weights = adapters / "adapter_model.bin"
    assert str(refused.value) == (
        f"--model_name_or_path {adapters}: the adapters cannot be loaded: {weights} {WEIGHTS}"
    )
    assert not (tmp_path / "ran").exists()


def test_code_beside_a_model_is_neither_run_nor_asked_for(clip, tmp_path, monkeypatch):
    (clip / "sent.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Sent: pass\n")
    kinds = ("AutoConfig", "AutoModel", "AutoProcessor", "AutoImageProcessor")
    classes = {**dict.fromkeys(kinds, "sent.Sent"), "AutoTokenizer": ["sent.Sent", "sent.Sent"]}
    for path in clip.glob("*config.json"):
        content = json.loads(path.read_text())
        named = content.keys() & {"processor_class", "tokenizer_class", "image_processor_type"}
        own = dict.fromkeys(named, "Sent")
        path.write_text(json.dumps({**content, **own, "auto_map": classes}))
    asked = []
    monkeypatch.setattr(builtins, "input", lambda *question: asked.append(question) or "y")
    with pytest.raises(UsageError):
        load_model(str(clip))
    assert not asked and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["rows.npy", "rows.npz"])
def test_arrays_of_objects(name, tmp_path):
    save = np.save if name == "rows.npy" else np.savez
    save(tmp_path / name, np.array([Payload(tmp_path / "ran")]))
    with pytest.raises(UsageError) as refused:
        read_embeddings(tmp_path / name)
    assert str(refused.value) == f"{tmp_path / name} cannot be read as .npy or .npz ({REFUSED}): write it again."
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_the_payload_would_run(how, tmp_path):
    """Otherwise the tests above would hold for any file."""
    (tmp_path / "file").write_bytes(payload(tmp_path / "ran", how))
    if how == "torch":
        torch.load(tmp_path / "file", weights_only=False)
    else:
        np.load(tmp_path / "file", allow_pickle=True)
    assert (tmp_path / "ran").exists()
