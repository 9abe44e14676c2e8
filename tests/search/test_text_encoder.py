"""The text encoder in numpy against CLIP's own, of transformers."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TEXT_LENGTH, VOCABULARY, WORDS, tiny_model, tiny_tokenizer
from tokenizers import Tokenizer
from transformers import CLIPModel

from conclip.search.text_encoder import CONFIG, TextEncoder

TEXTS = ["a cat", "a photo of a red circle and no dog", "unknown words, too", "", " ".join(WORDS * 3)]
END = VOCABULARY["<|endoftext|>"]


def reference(model):
    with torch.no_grad():
        rows = []
        for text in TEXTS:
            tokens = tiny_tokenizer()(text, truncation=True, max_length=TEXT_LENGTH, return_tensors="pt")
            rows.append(model.get_text_features(**tokens).pooler_output[0])
    return torch.nn.functional.normalize(torch.stack(rows), dim=1).numpy()


def encoder(folder, model):
    model.save_pretrained(folder)
    config = {name: getattr(model.config.text_config, name) for name in CONFIG}
    tokenizer = Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())
    return TextEncoder(folder / "model.safetensors", config, tokenizer)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("eos", [END, 2])
def test_the_same_embeddings(activation, eos, tmp_path):
    model = tiny_model(CLIPModel, text={"hidden_act": activation, "eos_token_id": eos})
    # The weights of a new model are so small that most steps would not be noticed if they were left out.
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("text"):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    found = encoder(tmp_path, model)(TEXTS)
    assert found.dtype == np.float32 and len(np.unique(found.round(3), axis=0)) == len(TEXTS)
    np.testing.assert_allclose(found, reference(model), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision(dtype, tmp_path):
    model = tiny_model(CLIPModel).to(dtype)
    half = encoder(tmp_path, model)
    np.testing.assert_allclose(half(TEXTS), reference(model.float()), atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop("text_projection.weight"),
        lambda weights: weights.update({"text_projection.weight": weights["text_projection.weight"].double()}),
    ],
)
def test_a_file_without_these_weights_is_refused(change, tmp_path):
    model = tiny_model(CLIPModel)
    encoder(tmp_path, model)
    weights = load_file(tmp_path / "model.safetensors")
    change(weights)
    save_file(weights, tmp_path / "model.safetensors")
    config = {name: getattr(model.config.text_config, name) for name in CONFIG}
    tokenizer = Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())
    with pytest.raises(KeyError):
        TextEncoder(tmp_path / "model.safetensors", config, tokenizer)


def test_another_activation_is_refused(tmp_path):
    with pytest.raises(KeyError):
        encoder(tmp_path, tiny_model(CLIPModel, text={"hidden_act": "relu"}))
