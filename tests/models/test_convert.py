"""`conclip convert`: each layout of checkpoints, written by a small CLIP of the test in OpenAI's own names."""

import argparse
import json
import math
import os
import zipfile

import pytest
import torch
from safetensors.torch import load_file
from tiny import save_tiny, tiny_tokenizer
from torch import nn
from transformers import AutoProcessor, CLIPModel

from conclip.__main__ import main
from conclip.errors import UsageError
from conclip.models.checkpoint_files import read_weights
from conclip.models.openai_layout import encoder_sizes
from modeling_conclip import ConCLIPModel

WIDTH, EMBED = 64, 16


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width, length):
        super().__init__()
        self.attn, self.ln_1, self.ln_2 = (
            nn.MultiheadAttention(width, width // 64),
            nn.LayerNorm(width),
            nn.LayerNorm(width),
        )
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        # No buffer, as in OpenAI's code: TorchScript writes it among the attributes.
        self.attn_mask = torch.full((length, length), -math.inf).triu_(1) if length else None

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=self.attn_mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, length=0):
        super().__init__()
        self.resblocks = nn.Sequential(*(Block(width, length) for _ in range(layers)))

    def forward(self, x):
        return self.resblocks(x)


class Visual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, 16, 16, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn(5, WIDTH))
        self.ln_pre, self.transformer, self.ln_post = nn.LayerNorm(WIDTH), Transformer(WIDTH, 2), nn.LayerNorm(WIDTH)
        self.proj = nn.Parameter(torch.randn(WIDTH, EMBED))

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        x = self.transformer(self.ln_pre(x).transpose(0, 1)).transpose(0, 1)
        return self.ln_post(x[:, 0]) @ self.proj


class OpenAICLIP(nn.Module):
    """The computation of CLIP's paper, with the names of OpenAI's files."""

    def __init__(self):
        super().__init__()
        self.visual = Visual()
        self.token_embedding = nn.Embedding(len(tiny_tokenizer()), 2 * WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(20, 2 * WIDTH))
        self.transformer, self.ln_final = Transformer(2 * WIDTH, 3, 20), nn.LayerNorm(2 * WIDTH)
        self.text_projection = nn.Parameter(torch.randn(2 * WIDTH, EMBED))
        self.logit_scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, pixels, tokens):
        x = self.token_embedding(tokens) + self.positional_embedding
        x = self.ln_final(self.transformer(x.transpose(0, 1)).transpose(0, 1))
        texts = x[torch.arange(len(x)), tokens.argmax(-1)] @ self.text_projection
        images, texts = (y / y.norm(dim=-1, keepdim=True) for y in (self.visual(pixels), texts))
        return images, texts, self.logit_scale.exp() * images @ texts.T


@pytest.fixture(scope="module")
def clip():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = OpenAICLIP().eval()
    for parameter in model.parameters():
        # Also of float16, so that both layouts hold the same numbers.
        parameter.data = parameter.data.half().float()
    return model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def inputs():
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    texts = ["a cat but no dog", "a red circle on the table"]
    return pixels, tiny_tokenizer()(texts, padding="max_length", max_length=20, return_tensors="pt").input_ids


def namespace(clip):
    arguments = argparse.Namespace(lr=1e-6, batch_size=200, ops=["a"], dataset="ccneg")
    return {"model": clip.state_dict(), "optimizer": {"state": {}, "param_groups": []}, "args": arguments}


LAYOUTS = {
    "openai.pt": lambda clip: clip.state_dict(),
    "openai-fp16.pt": lambda clip: {name: weight.half() for name, weight in clip.state_dict().items()},
    "conclip.pt": namespace,
    "negclip.pth": lambda clip: {
        "epoch": 3,
        "name": "negclip",
        "state_dict": {f"module.{name}": weight for name, weight in clip.state_dict().items()},
    },
    "open_clip_pytorch_model.bin": lambda clip: clip.state_dict(),
}


def convert(path, folder, *options):
    return main(["convert", "--model_name_or_path", str(path), "--output_dir", str(folder), *options])


def check_same(clip, folder, tolerance=1e-5):
    pixels, tokens = inputs()
    for cls in (CLIPModel, ConCLIPModel):
        output = cls.from_pretrained(folder).eval()(input_ids=tokens, pixel_values=pixels)
        for ours, theirs in zip(
            (output.image_embeds, output.text_embeds, output.logits_per_image), clip(pixels, tokens), strict=True
        ):
            torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_becomes_the_same_model(clip, tokenizer, tmp_path, name):
    torch.save(LAYOUTS[name](clip), tmp_path / name)
    assert convert(tmp_path / name, tmp_path / "out", "--tokenizer", tokenizer) == 0
    check_same(clip, tmp_path / "out")
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    end = len(tiny_tokenizer()) - 1
    assert config["text_config"]["eos_token_id"] == end and processor.tokenizer.eos_token_id == end
    assert config["text_config"]["hidden_act"] == config["vision_config"]["hidden_act"] == "quick_gelu"
    assert config["vision_config"]["image_size"] == 32 and processor.tokenizer.model_max_length == 20
    assert not list((tmp_path / "out").glob("unfinished*"))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_torchscript_is_read_as_torch_reads_it(clip, tokenizer, tmp_path):
    torch.jit.trace(clip, inputs()).save(tmp_path / "jit.pt")
    expected = torch.jit.load(tmp_path / "jit.pt").state_dict()
    read = read_weights(tmp_path / "jit.pt")
    assert all(torch.equal(read[name], weight) for name, weight in expected.items())
    assert convert(tmp_path / "jit.pt", tmp_path / "out", "--tokenizer", tokenizer) == 0
    check_same(clip, tmp_path / "out")


def test_sizes_and_masks_of_torchscript_are_no_weights(clip, tokenizer, tmp_path):
    """OpenAI's archives hold the three sizes; `clip.model.build_model` removes them too."""
    sizes = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    masks = {f"{name}attn_mask": torch.ones(20, 20) for name in ("", "transformer.resblocks.2.")}
    torch.save({**clip.state_dict(), **sizes, **masks}, tmp_path / "clip.pt")
    assert convert(tmp_path / "clip.pt", tmp_path / "out", "--tokenizer", tokenizer) == 0
    check_same(clip, tmp_path / "out")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_there_and_back(clip, tokenizer, tmp_path):
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    assert convert(tmp_path / "clip.pt", tmp_path / "hf", "--tokenizer", tokenizer) == 0
    for to in ("openai", "open_clip"):
        assert convert(tmp_path / "hf", tmp_path / to, "--to", to) == 0
    weights = (
        # As `clip.load` does first; the second of its ways, with a state dict, fails.
        torch.jit.load(tmp_path / "openai" / "model.pt").state_dict(),
        load_file(tmp_path / "open_clip" / "open_clip_model.safetensors"),
    )
    for found in weights:
        assert found.keys() == clip.state_dict().keys()
        assert all(torch.equal(found[name], weight) for name, weight in clip.state_dict().items())
    config = json.loads((tmp_path / "open_clip" / "open_clip_config.json").read_text())["model_cfg"]
    assert config["quick_gelu"] is True and config["embed_dim"] == EMBED
    assert config["vision_cfg"] == {
        **{"image_size": 32, "layers": 2, "width": 64, "head_width": 64, "mlp_ratio": 4.0, "patch_size": 16}
    }
    assert config["text_cfg"] == {
        **{"context_length": 20, "vocab_size": len(tiny_tokenizer()), "width": 128, "heads": 2, "layers": 3},
        "mlp_ratio": 4.0,
    }


def test_what_is_written_for_openai_is_read_again(clip, tokenizer, tmp_path):
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    assert convert(tmp_path / "clip.pt", tmp_path / "hf", "--tokenizer", tokenizer) == 0
    assert convert(tmp_path / "hf", tmp_path / "openai", "--to", "openai") == 0
    assert convert(tmp_path / "openai" / "model.pt", tmp_path / "again", "--tokenizer", tokenizer) == 0
    check_same(clip, tmp_path / "again")


def test_the_config_of_open_clip_is_used(tokenizer, tmp_path):
    """Heads, GELU and the image processor, which weights do not show."""
    model = save_tiny(tmp_path / "base", CLIPModel, text={"hidden_act": "gelu"}, vision={"hidden_act": "gelu"})
    assert convert(tmp_path / "base", tmp_path / "oc", "--to", "open_clip") == 0
    path = tmp_path / "oc" / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.25]
    path.write_text(json.dumps(config))
    source = tmp_path / "oc" / "open_clip_model.safetensors"
    assert convert(source, tmp_path / "out", "--tokenizer", tokenizer) == 0
    found = CLIPModel.from_pretrained(tmp_path / "out")
    assert found.config.vision_config.num_attention_heads == found.config.text_config.num_attention_heads == 2
    assert found.config.text_config.hidden_act == found.config.vision_config.hidden_act == "gelu"
    assert all(torch.equal(found.state_dict()[name], weight) for name, weight in model.state_dict().items())
    assert list(AutoProcessor.from_pretrained(tmp_path / "out").image_processor.image_mean) == [0.5, 0.5, 0.25]


def test_float16_is_written_on_request(clip, tokenizer, tmp_path):
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    assert convert(tmp_path / "clip.pt", tmp_path / "out", "--tokenizer", tokenizer, "--dtype", "float16") == 0
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("visual.ln_post.bias"), "missing weight visual.ln_post.bias."),
        (lambda weights: weights.pop("positional_embedding"), "missing weight positional_embedding."),
        (
            lambda weights: weights.update({"visual.layer1.0.conv1.weight": torch.ones(1)}),
            "unknown weight visual.layer1.0.conv1.weight.",
        ),
        (
            lambda weights: weights.update({"visual.ln_pre.weight": torch.ones(3)}),
            "vision_model.pre_layrnorm.weight has shape (3,), and the other weights need (64,).",
        ),
        (
            lambda weights: weights.update(text_projection=torch.ones(3)),
            "text_projection has shape (3,), where a CLIP has 2 dimensions; download it again.",
        ),
        (lambda weights: weights.update(extra="text"), "holds 'extra' among its weights, which is no tensor."),
        (lambda weights: weights.clear(), "holds no weights"),
    ],
)
def test_other_weights_are_refused(clip, tokenizer, tmp_path, capsys, change, message):
    weights = dict(clip.state_dict())
    change(weights)
    torch.save(weights, tmp_path / "clip.pt")
    assert convert(tmp_path / "clip.pt", tmp_path / "out", "--tokenizer", tokenizer) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


class Hostile:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("torchscript", [False, True])
def test_nothing_of_a_file_is_run(clip, tmp_path, capsys, torchscript):
    path, mark = tmp_path / "hostile.pt", tmp_path / "mark"
    torch.save({"model": clip.state_dict(), "args": Hostile(mark)}, path)
    if torchscript:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("hostile/constants.pkl", b"")
    assert convert(path, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert not mark.exists() and not (tmp_path / "out").exists()
    assert "posix.mkdir, an object other than weights" in error and "state_dict()" in error
    # What the file would have done.
    if not torchscript:
        torch.load(path, weights_only=False)
        assert mark.exists()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_compressed_torchscript_is_refused(clip, tmp_path, capsys):
    torch.jit.trace(clip, inputs()).save(tmp_path / "jit.pt")
    with zipfile.ZipFile(tmp_path / "jit.pt") as source, zipfile.ZipFile(tmp_path / "small.pt", "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name), zipfile.ZIP_DEFLATED)
    assert convert(tmp_path / "small.pt", tmp_path / "out") == 1
    assert "is compressed, which torch never does; download it again." in capsys.readouterr().err


def test_heads_of_large_encoders_are_not_guessed():
    weights = {
        "visual.conv1.weight": torch.empty(1280, 3, 14, 14, device="meta"),
        "visual.positional_embedding": torch.empty(257, 1280, device="meta"),
        "token_embedding.weight": torch.empty(49408, 1024, device="meta"),
        "positional_embedding": torch.empty(77, 1024, device="meta"),
        "text_projection": torch.empty(1024, 1024, device="meta"),
    }
    with pytest.raises(UsageError, match="how many attention heads it has: put open_clip_config.json"):
        encoder_sizes(weights, {}, "big.pt")


def test_the_tokenizer_of_another_model_is_refused(clip, tokenizer, tmp_path, capsys):
    weights = dict(clip.state_dict())
    # A larger vocabulary, so that the tokenizer's ids all fit.
    weights["token_embedding.weight"] = torch.cat([weights["token_embedding.weight"], torch.ones(5, 2 * WIDTH)])
    torch.save(weights, tmp_path / "clip.pt")
    assert convert(tmp_path / "clip.pt", tmp_path / "out", "--tokenizer", tokenizer) == 1
    assert "the tokenizer belongs to another model." in capsys.readouterr().err


def test_damaged_and_wrong_files(tmp_path, capsys, tokenizer, clip):
    (tmp_path / "text.pt").write_text("no checkpoint")
    assert convert(tmp_path / "text.pt", tmp_path / "out") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert convert(tmp_path / "absent.pt", tmp_path / "out") == 1
    assert "there is no such file" in capsys.readouterr().err
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    assert convert(tmp_path / "clip.pt", tmp_path / "out", "--tokenizer", str(tmp_path)) == 1
    assert "--tokenizer" in (error := capsys.readouterr().err) and "vocab.json and merges.txt" in error
    assert convert(tmp_path / "clip.pt", tmp_path / "out", "--tokenizer", tokenizer) == 0
    assert convert(tmp_path / "clip.pt", tmp_path / "out", "--tokenizer", tokenizer) == 1
    assert "add --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["openai", "open_clip"])
def test_models_that_others_cannot_compute_are_refused(tmp_path, capsys, to):
    change = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5 if to == "openai" else 1e-6}
    save_tiny(tmp_path / "base", text=change)
    capsys.readouterr()
    assert convert(tmp_path / "base", tmp_path / "out", "--to", to) == 1
    # The lines above it are transformers' progress bar.
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("Error: --model_name_or_path")
    assert ("heads of width 64" if to == "openai" else "layer_norm_eps") in error


def test_loading_a_file_names_the_command(tmp_path, capsys):
    path = tmp_path / "model.pt"
    torch.save({}, path)
    command = f"conclip convert --model_name_or_path {path} --output_dir FOLDER"
    with pytest.raises(OSError, match="is a file") as error:
        ConCLIPModel.from_pretrained(path)
    assert command in str(error.value)
    data = ["--dataset_name", str(tmp_path), "--output_dir", str(tmp_path / "run")]
    evaluated = ["--benchmarks", "scenes-pairs", "--output_dir", str(tmp_path / "run")]
    for words in (["train", *data], ["evaluate", *evaluated]):
        assert main([words[0], "--model_name_or_path", str(path), *words[1:]]) == 1
        assert command in capsys.readouterr().err
