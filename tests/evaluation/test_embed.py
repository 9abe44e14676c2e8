"""`conclip embed`: the embeddings in the file equal those of the model's own forward pass."""

import json

import numpy as np
import pytest
import torch
from accelerate_state import reset_accelerate
from PIL import Image
from runs import write_dataset
from small_benchmarks import write_images
from tiny import save_tiny, tiny_processor

from conclip.embedding.embedding_files import read_embeddings
from conclip.models.embed_command import main


@pytest.fixture(autouse=True)
def one_accelerator():
    reset_accelerate()
    yield
    reset_accelerate()


@torch.no_grad()
def test_a_folder_in_the_order_of_its_names(tmp_path, capsys):
    model = save_tiny(tmp_path / "clip")
    names = ["b.jpg", "a.png", "c.jpg"]
    write_images(tmp_path / "photos", names)
    (tmp_path / "photos" / "d.jpg").write_bytes((tmp_path / "photos" / "c.jpg").read_bytes())
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    argv = ["--model_name_or_path", str(tmp_path / "clip"), "--embedding_cache_dir", str(tmp_path / "cache")]
    output = tmp_path / "found.npz"
    assert main([*argv, "--image_dir", str(tmp_path / "photos"), "--output_file", str(output)]) == 0
    found = read_embeddings(output)
    assert found.names == ["a.png", "b.jpg", "c.jpg", "d.jpg"]
    images = [Image.open(tmp_path / "photos" / name).convert("RGB") for name in found.names]
    expected = model.get_image_features(**tiny_processor()(images=images, return_tensors="pt")).pooler_output
    expected = torch.nn.functional.normalize(expected, dim=1).numpy()
    assert found.rows == pytest.approx(expected, abs=1e-5)
    assert (found.keys[2] == found.keys[3]).all() and len(np.unique(found.keys, axis=0)) == 3
    assert "4 embeddings of 16 dimensions" in capsys.readouterr().out


def test_a_dataset_and_what_is_refused(tmp_path, capsys):
    save_tiny(tmp_path / "clip")
    argv = ["--model_name_or_path", str(tmp_path / "clip"), "--embedding_cache_dir", str(tmp_path / "cache")]
    output = ["--output_file", str(tmp_path / "found.npz")]
    data = write_dataset(tmp_path / "data")
    assert main([*argv, *output, "--dataset_name", str(data), "--split", "test"]) == 0
    assert read_embeddings(tmp_path / "found.npz").rows.shape == (12, 16)
    # The file exists now.
    assert main([*argv, *output, "--dataset_name", str(data)]) == 1
    assert "add --overwrite to replace it" in capsys.readouterr().err
    output.append("--overwrite")
    for more, says in [
        ([], "Name the images"),
        (["--image_dir", str(tmp_path / "nowhere")], "there is no such folder."),
        (
            ["--dataset_name", str(data), "--image_column", "x"],
            "--image_column x: the split 'train' has no such column",
        ),
    ]:
        capsys.readouterr()
        assert main([*argv, *output, *more]) == 1
        assert says in capsys.readouterr().err


def test_a_dataset_of_paths_in_the_order_of_its_rows(tmp_path):
    save_tiny(tmp_path / "clip")
    write_images(tmp_path / "photos", ["a.png", "b.jpg"])
    lines = [json.dumps({"file": f"photos/{name}"}) for name in ("b.jpg", "a.png", "b.jpg")]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    (tmp_path / "names.csv").write_text("file\nb.jpg\na.png\nb.jpg\n")
    argv = ["--model_name_or_path", str(tmp_path / "clip"), "--embedding_cache_dir", str(tmp_path / "cache")]

    def found(name, *options):
        output = tmp_path / f"{name}.npz"
        assert main([*argv, "--output_file", str(output), *map(str, options)]) == 0
        return read_embeddings(output)

    folder = found("folder", "--image_dir", tmp_path / "photos")
    rows = found("rows", "--dataset_name", tmp_path / "rows.jsonl", "--image_column", "file")
    options = ("--dataset_name", tmp_path / "names.csv", "--image_column", "file", "--image_dir", tmp_path / "photos")
    for embeddings in (rows, found("names", *options)):
        assert np.array_equal(embeddings.rows, folder.rows[[1, 0, 1]])
        assert np.array_equal(embeddings.keys, folder.keys[[1, 0, 1]])
