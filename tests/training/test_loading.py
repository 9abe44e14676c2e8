"""
One folder, every loader: ConCLIP and plain CLIP folders in all the ways users of transformers load them.

Each process runs many cells, as importing torch is what takes the time. `loading_worker.py` is what they run.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny import save_tiny, tiny_batch, tiny_processor
from transformers import CLIPModel

from modeling_conclip import ConCLIPModel

CODE = {f"{name}_conclip.py" for name in ("configuration", "loss", "modeling", "encoders", "packing")}
LABELS = ["cat", "red circle", "street without a car"]
HUB_ID, COMMIT = "someone/tiny-conclip", "0123456789abcdef" * 2 + "01234567"
STOCK = ("CLIPModel", "AutoModel", "pipeline")
TRUSTED = ("AutoModel trusted", "pipeline trusted")

# (process, loader, folder) -> class. "here" can import this package, "elsewhere" cannot. Trusted loads come first, so
# that what they register would show in the later ones.
MATRIX = {
    **{("here", "ConCLIPModel", folder): "ConCLIPModel" for folder in ("conclip", "clip", "hub")},
    **{("elsewhere", loader, folder): "ConCLIPModel" for loader in TRUSTED for folder in ("conclip", "hub")},
    **{("elsewhere", loader, "clip"): "CLIPModel" for loader in TRUSTED},
    **{
        (process, loader, folder): "CLIPModel"
        for process in ("here", "elsewhere")
        for loader in STOCK
        for folder in ("conclip", "clip", "hub")
    },
    # Folders that a class loaded and saved again, once or twice.
    ("elsewhere", "AutoModel trusted", "saved_by_remote_code"): "ConCLIPModel",
    ("elsewhere", "AutoModel trusted", "saved_twice_by_remote_code"): "ConCLIPModel",
    ("elsewhere", "AutoModel", "saved_twice_by_remote_code"): "CLIPModel",
    ("elsewhere", "CLIPModel", "saved_by_stock_clip"): "CLIPModel",
    ("elsewhere", "AutoModel", "saved_by_stock_clip"): "CLIPModel",
    ("here", "ConCLIPModel", "plain_saved_by_conclip"): "ConCLIPModel",
    ("here", "CLIPModel", "plain_saved_by_conclip"): "CLIPModel",
}
PLAIN = ("clip", "plain_saved_by_conclip")  # these hold no weights of the loss
SAVES = {
    ("elsewhere", "AutoModel trusted", "hub"): "saved_by_remote_code",
    ("elsewhere", "AutoModel trusted", "saved_by_remote_code"): "saved_twice_by_remote_code",
    ("elsewhere", "CLIPModel", "conclip"): "saved_by_stock_clip",
    ("here", "ConCLIPModel", "clip"): "plain_saved_by_conclip",
}


def name_of(cell) -> str:
    return " | ".join(cell)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Two folders with the same weights, the first also in the Hub's cache, an image and a batch."""
    place = tmp_path_factory.mktemp("loading")
    model = save_tiny(place / "conclip", distractor_weight=0.5)
    stock = save_tiny(place / "clip", CLIPModel)
    stock.load_state_dict(model.state_dict())
    stock.save_pretrained(place / "clip")
    repository = place / "hf/hub" / f"models--{HUB_ID.replace('/', '--')}"
    shutil.copytree(place / "conclip", repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    pixels = torch.randint(256, (40, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.numpy()).save(place / "image.png")
    names = ("input_ids", "attention_mask", "pixel_values")
    torch.save({name: tiny_batch()[name] for name in names}, place / "batch.pt")
    return place


def request(place: Path, process: str) -> Path:
    cells = [
        {
            "name": name_of(cell),
            "loader": cell[1],
            "source": HUB_ID if cell[2] == "hub" else str(place / cell[2]),
            # Without a revision the first load from the Hub says that it has downloaded code.
            "revision": COMMIT if cell[2] == "hub" else None,
            "save_to": str(place / SAVES[cell]) if cell in SAVES else None,
            "save_config_to": str(place / "config_alone") if cell[1:] == ("AutoModel trusted", "conclip") else None,
        }
        for cell in MATRIX
        if cell[0] == process
    ]
    files = {"image": "image.png", "batch": "batch.pt", "result": f"{process}.json"}
    content = {name: str(place / file) for name, file in files.items()}
    path = place / f"{process}-request.json"
    path.write_text(json.dumps({**content, "package": process == "here", "labels": LABELS, "cells": cells}))
    return path


@pytest.fixture(scope="module")
def workers(place) -> dict[str, dict]:
    """What each process reported, and all that it printed."""
    root, running = Path(__file__).parents[2], {}
    for process in ("here", "elsewhere"):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
        environment |= {"HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
        if process == "here":
            environment["PYTHONPATH"] = str(root)
        running[process] = subprocess.Popen(
            [sys.executable, str(root / "tests/helpers/loading_worker.py"), str(request(place, process))],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    written = {process: child.communicate(timeout=300)[0] for process, child in running.items()}
    assert [child.returncode for child in running.values()] == [0, 0], "\n".join(written.values())
    return {
        process: {"written": written[process], "cells": json.loads((place / f"{process}.json").read_text())}
        for process in running
    }


@pytest.mark.parametrize("cell", MATRIX, ids=name_of)
def test_cell(workers, place, cell):
    process, loader, folder = cell
    result = workers[process]["cells"][name_of(cell)]
    conclip = MATRIX[cell] == "ConCLIPModel"
    assert result["class"] == MATRIX[cell]
    assert result["config_class"] == ("ConCLIPConfig" if conclip else "CLIPConfig")
    home = (
        ("modeling_conclip." if process == "here" else "transformers_modules.") if conclip else "transformers.models."
    )
    assert result["module"].startswith(home)
    assert result["image_encoder_is_trained"] is not conclip
    if conclip:
        assert result["distractor_weight"] == (1.0 if folder in PLAIN else 0.5)
    assert result["problems"] == {}
    assert result["warnings"] == []
    expected = CLIPModel.from_pretrained(place / "clip").eval()
    with torch.no_grad():
        logits = expected(**torch.load(place / "batch.pt")).logits_per_image
    assert torch.equal(torch.tensor(result["logits"]), logits)
    if loader.startswith("pipeline"):
        texts = [f"This is a photo of {label}." for label in LABELS]
        inputs = tiny_processor()(
            text=texts, images=Image.open(place / "image.png"), padding=True, return_tensors="pt"
        )
        with torch.no_grad():
            scores = expected(**inputs).logits_per_image.softmax(dim=-1)[0]
        torch.testing.assert_close(torch.tensor(result["scores"]), scores)


@pytest.mark.parametrize("process", ["here", "elsewhere"])
def test_nothing_is_written_on_the_terminal(workers, process):
    """No warning of any logger; progress bars are off."""
    assert workers[process]["written"] == ""


def test_saved_again_by_remote_code(workers, place):
    """The folder is whole: code, weights and the same configuration."""
    first = json.loads((place / "conclip/config.json").read_text())
    for folder in ("saved_by_remote_code", "saved_twice_by_remote_code"):
        assert {path.name for path in (place / folder).iterdir()} == CODE | {"config.json", "model.safetensors"}
        again = json.loads((place / folder / "config.json").read_text())
        assert {name: again[name] for name in ("auto_map", "architectures", "model_type", "distractor_weight")} == {
            name: first[name] for name in ("auto_map", "architectures", "model_type", "distractor_weight")
        }
        for name in CODE:
            assert (place / folder / name).read_bytes() == (place / "conclip" / name).read_bytes()
        assert ConCLIPModel.from_pretrained(place / folder).config.distractor_weight == 0.5
    assert {path.name for path in (place / "config_alone").iterdir()} == {"config.json", "configuration_conclip.py"}


def test_saved_by_stock_clip_stays_conclip(workers, place):
    model, info = ConCLIPModel.from_pretrained(place / "saved_by_stock_clip", output_loading_info=True)
    assert not any(info.values())
    assert model.config.distractor_weight == 0.5
    for name, tensor in ConCLIPModel.from_pretrained(place / "conclip").state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_what_is_written(place):
    """The code is the package's, config.json names CLIP, and the weights are CLIP's."""
    written, plain = ({path.name for path in (place / folder).iterdir()} for folder in ("conclip", "clip"))
    assert written - plain == CODE and not plain - written
    package = Path(sys.modules["modeling_conclip"].__file__).parent
    assert all((place / "conclip" / name).read_bytes() == (package / name).read_bytes() for name in CODE)
    config = json.loads((place / "conclip/config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("clip", ["CLIPModel"])
    assert config["auto_map"] == {
        "AutoConfig": "configuration_conclip.ConCLIPConfig",
        "AutoModel": "modeling_conclip.ConCLIPModel",
        "AutoModelForZeroShotImageClassification": "modeling_conclip.ConCLIPModel",
    }
