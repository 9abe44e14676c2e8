"""`conclip search` over a folder of small images, with a tiny random CLIP."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from other_models import SIGLIP_LENGTH, save_other
from peft import LoraConfig, get_peft_model
from tiny import TEXT_LENGTH, save_tiny, tiny_processor
from transformers import CLIPModel

from conclip.__main__ import main
from conclip.embedding.image_files import read_encoded
from conclip.embedding.image_modes import ImageError
from conclip.evaluation.query_encoder import embed_query
from conclip.models.cached_encoder import CachedEncoder
from conclip.search.index import list_images
from conclip.search.searcher import Searcher

TEXT = "a red circle and no dog"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two folders: the text encoders differ, the image encoders do not, as after fine-tuning."""
    folder = tmp_path_factory.mktemp("models")
    base = save_tiny(folder / "base")
    with torch.no_grad():
        base.text_projection.weight.add_(torch.randn(base.text_projection.weight.shape) * 0.1)
    shutil.copytree(folder / "base", folder / "tuned")
    base.save_pretrained(folder / "tuned")
    return folder


def save_image(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(["a.png", "b.jpg", "sub/deeper/c d.png", "sub/e.png"]):
        save_image(Path("photos") / name, seed)
    return Path("photos")


@pytest.fixture
def search(models, photos, capsys):
    def run(*words, model="base", status=0):
        command = ["search", str(photos), *words, "--model_name_or_path", str(models / model)]
        assert main([*command, "--embedding_cache_dir", "cache"]) == status
        return capsys.readouterr()

    return run


@pytest.fixture
def without_torch(monkeypatch):
    def forbid():
        monkeypatch.setattr(Searcher, "_model", property(lambda self: pytest.fail("the model was loaded")))

    return forbid


def expected_scores(model, texts, paths, signs=(1,)):
    """The formula, with transformers: cosines of images with the sum of signed unit text embeddings."""
    clip, processor = CLIPModel.from_pretrained(model), tiny_processor()
    images = processor(images=[PIL.Image.open(path).convert("RGB") for path in paths], return_tensors="pt")
    with torch.no_grad():
        images = clip.get_image_features(**images).pooler_output
        embeds = [clip.get_text_features(**processor(text=text, return_tensors="pt")).pooler_output for text in texts]
    unit = torch.nn.functional.normalize
    query = sum(sign * unit(embed[0], dim=0) for sign, embed in zip(signs, embeds, strict=True))
    return (unit(images, dim=1) @ unit(query, dim=0)).tolist()


def table(output):
    """Path -> score of each printed line, in its order."""
    head, *lines = output.splitlines()
    assert head.split() == ["score", "path"]
    return {path: float(score) for score, path in (line.split(maxsplit=1) for line in lines)}


def test_scores_and_paths(search, models, photos):
    found = table(search(TEXT).out)
    paths = sorted(str(path) for path in photos.rglob("*.*"))
    scores = dict(zip(paths, expected_scores(models / "base", [TEXT], paths), strict=True))
    assert list(found) == sorted(scores, key=scores.get, reverse=True)
    assert found == pytest.approx(scores, abs=6e-4)


def test_later_searches_need_no_torch(search, without_torch):
    first = search(TEXT, "--top", "3").out
    without_torch()
    again = search(TEXT, "--top", "3")
    assert again.out == first and len(table(first)) == 3 and again.err == ""
    assert search(TEXT, "--top", "2", "--filepath_only").out.splitlines() == list(table(first))[:2]


def test_later_searches_import_no_heavy_library(search, models):
    search(TEXT)
    code = """import sys
from conclip.__main__ import main
assert main(sys.argv[1:]) == 0
heavy = "torch transformers datasets huggingface_hub matplotlib pyarrow PIL tqdm importlib.metadata"
print("imported:", *{*heavy.split()} & {*sys.modules})"""
    argv = [
        "search",
        "photos",
        "a cat",
        "--model_name_or_path",
        str(models / "base"),
        "--embedding_cache_dir",
        "cache",
    ]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported:" and len(done.stdout.splitlines()) == 6


def embedded(error):
    """How many images the progress bar of a run counted; 0 if it loaded a model and embedded none."""
    lines = [part for part in error.replace("\r", "\n").splitlines() if part.startswith("Embedding images")]
    return int(lines[-1].partition("| ")[2].partition("/")[0]) if lines else 0


def test_new_changed_and_deleted_images(search, photos, without_torch):
    assert embedded(search(TEXT).err) == 4
    save_image(photos / "new.png", 10)
    assert len(table((result := search(TEXT)).out)) == 5 and embedded(result.err) == 1
    before = table(result.out)
    save_image(photos / "a.png", 11)
    os.utime(photos / "a.png", ns=(1, 1))
    after = table((result := search(TEXT)).out)
    assert embedded(result.err) == 1
    assert {path for path in after if after[path] != before[path]} == {str(photos / "a.png")}
    (photos / "b.jpg").unlink()
    (photos / "new.png").rename(photos / "renamed.png")
    names = set(table((result := search(TEXT)).out))
    assert embedded(result.err) == 0
    assert names == {str(photos / name) for name in ["a.png", "renamed.png", "sub/deeper/c d.png", "sub/e.png"]}
    without_torch()
    assert set(table(search(TEXT).out)) == names


def test_broken_images_are_named_once_and_tried_again_when_they_change(search, photos, monkeypatch):
    (photos / "x.png").write_bytes(b"no image")
    content = (photos / "a.png").read_bytes()
    for name in ("cut.png", "sub/cut too.png"):
        (photos / name).write_bytes(content[: len(content) // 2])
    result = search(TEXT)
    assert "Warning: 3 images cannot be read and are left out:" in result.err
    assert all(f"  {photos}/{name}: " in result.err for name in ("x.png", "cut.png", "sub/cut too.png"))
    assert len(table(result.out)) == 4
    with monkeypatch.context() as patch:
        patch.setattr(Searcher, "_model", property(lambda self: pytest.fail("the model was loaded")))
        assert search(TEXT).err == "Warning: 3 images cannot be read and are left out.\n"
    save_image(photos / "x.png", 5)
    result = search(TEXT)
    assert len(table(result.out)) == 5 and embedded(result.err) == 1
    assert result.err.endswith("Warning: 2 images cannot be read and are left out.\n")


def test_files_that_cannot_be_opened_have_their_own_reasons(search, photos, monkeypatch):
    def read(content, path):
        if path.endswith(("a.png", "e.png")):
            raise ImageError(f"{path}: Permission denied")
        return read_encoded(content, path)

    monkeypatch.setattr("conclip.search.embedding.read_encoded", read)
    result = search(TEXT)
    assert result.err.endswith("  photos/a.png: Permission denied\n  photos/sub/e.png: Permission denied\n")
    assert len(table(result.out)) == 2


def test_a_file_that_can_be_opened_again_is_tried_again(search, photos, monkeypatch):
    def closed(content, path):
        if path.endswith("a.png"):
            raise ImageError(f"{path}: Permission denied")
        return read_encoded(content, path)

    with monkeypatch.context() as patch:
        patch.setattr("conclip.search.embedding.read_encoded", closed)
        patch.setattr(os, "access", lambda path, mode: not str(path).endswith("a.png"))
        assert "photos/a.png: Permission denied" in search(TEXT).err
        assert search(TEXT).err == "Warning: 1 image cannot be read and is left out.\n"
    result = search(TEXT)
    assert embedded(result.err) == 1 and len(table(result.out)) == 4 and "Warning" not in result.err


def test_two_models_name_a_broken_image_once(search, photos, models):
    (photos / "x.png").write_bytes(b"no image")
    error = search(TEXT, "--compare", str(models / "tuned")).err
    assert error.count("cannot be read") == 1 and error.count("photos/x.png: not an image") == 1


def test_a_folder_of_broken_images(search, photos):
    for path in photos.rglob("*.*"):
        path.write_bytes(b"")
    assert "Error: photos: none of its 4 images can be read." in search(TEXT, status=1).err


def test_an_interrupted_run_keeps_what_it_has_embedded(search, photos, monkeypatch):
    for seed in range(20, 60):
        save_image(photos / f"{seed}.png", seed)
    plain, batches = CachedEncoder.embed_batch, []

    def interrupted(encoder, pixels):
        batches.append(len(pixels))
        if len(batches) == 2:
            raise KeyboardInterrupt
        return plain(encoder, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(CachedEncoder, "embed_batch", interrupted)
        assert "Interrupted. The embeddings computed so far are cached" in search(TEXT, status=130).err
    assert batches == [32, 12]
    assert embedded(search(TEXT).err) == 12


def test_operators(search, models, photos, without_torch):
    paths = sorted(str(path) for path in photos.rglob("*.*"))
    search("a cat")
    without_torch()
    for words, texts, signs in [
        (["a cat", "+", "a dog"], ["a cat", "a dog"], (1, 1)),
        (["a cat", "-", "a dog"], ["a cat", "a dog"], (1, -1)),
        (["a cat", "-dog"], ["a cat", "dog"], (1, -1)),
        (["-dog", "--top", "4", "a cat"], ["a cat", "dog"], (1, -1)),
    ]:
        scores = expected_scores(models / "base", texts, paths, signs)
        assert table(search(*words).out) == pytest.approx(dict(zip(paths, scores, strict=True)), abs=6e-4)


def test_an_image_as_the_query(search, photos, tmp_path, without_torch):
    outside = tmp_path / "outside.png"
    shutil.copy(photos / "sub/e.png", outside)
    found = table(search(str(outside)).out)
    assert list(found.items())[0] == ("photos/sub/e.png", 1.0)
    without_torch()
    assert table(search("photos/sub/e.png").out) == found
    assert list(table(search("photos/sub/e.png", "-", "photos/a.png").out))[-1] == "photos/a.png"


def test_a_broken_image_as_the_query(search, tmp_path):
    (tmp_path / "outside.png").write_bytes(b"no image")
    assert "Error: outside.png: not an image that Pillow can read." in search("outside.png", status=1).err


def test_query_arithmetic(search, models, photos, monkeypatch):
    # All nouns would take seconds.
    few = SimpleNamespace(totals=dict.fromkeys(["cat", "dog", "car"], 1))
    monkeypatch.setattr("conclip.negation.arithmetic.read_nouns", lambda: few)
    model = CLIPModel.from_pretrained(models / "base").eval()
    query = embed_query(model, tiny_processor(), TEXT).numpy()
    paths = sorted(str(path) for path in photos.rglob("*.*"))
    images = tiny_processor()(images=[PIL.Image.open(path).convert("RGB") for path in paths], return_tensors="pt")
    with torch.no_grad():
        embeds = torch.nn.functional.normalize(model.get_image_features(**images).pooler_output, dim=1).numpy()
    result = search(TEXT, "--query_arithmetic", "--compare", str(models / "base"))
    assert "Query arithmetic: 'a red circle' without 'dog'." in result.err and "cut" not in result.err
    first, second = result.out.removeprefix("base, query arithmetic:\n").split("base:\n")
    assert table(first) == pytest.approx(dict(zip(paths, (embeds @ query).tolist(), strict=True)), abs=6e-4)
    assert second == search(TEXT).out and table(first) != table(second)
    # Its parts are embedded: of the whole query, more would be cut.
    long = search(f"{'a cat ' * 100} and no dog", "--query_arithmetic", "--top", "1").err
    assert f"Warning: 1 text is cut to {TEXT_LENGTH} tokens" in long


def test_query_arithmetic_of_a_text_without_negation_needs_no_torch(search, without_torch):
    plain = search("a cat").out
    without_torch()
    result = search("a cat", "--query_arithmetic")
    assert result.out == plain
    assert result.err == "Query arithmetic finds no negation in 'a cat', and searches it as it is.\n"


def test_clip_itself_comes_with_a_hint(models, photos, capsys, monkeypatch):
    shutil.copytree(models / "base", "openai/clip-tiny")
    argv = ["search", "photos", "--model_name_or_path", "openai/clip-tiny", "--embedding_cache_dir", "cache"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("a cat\na dog with no cat\nno dog\n"))
    assert main(argv) == 0
    assert capsys.readouterr().err.count("CLIP mostly ignores negation: add --query_arithmetic") == 1
    assert main([*argv, "a cat"]) == 0
    assert "CLIP mostly ignores" not in capsys.readouterr().err


def test_a_model_beside(search, models, photos, without_torch):
    alone = search(TEXT).out, search(TEXT, model="tuned").out
    assert alone[0] != alone[1]
    without_torch()
    assert search(TEXT, "--compare", str(models / "tuned")).out == f"base:\n{alone[0]}tuned:\n{alone[1]}"


def test_image_embeddings_are_shared_by_models_of_one_image_encoder(search):
    assert embedded(search(TEXT).err) == 4
    assert embedded(search(TEXT, model="tuned").err) == 0


def test_a_model_that_was_trained_again_is_noticed(search, models, tmp_path):
    shutil.copytree(models / "base", tmp_path / "mine")
    argv = ["search", "photos", TEXT, "--model_name_or_path", "mine", "--embedding_cache_dir", "cache"]
    assert main(argv) == 0
    first = search(TEXT).out
    shutil.copy(models / "tuned" / "model.safetensors", tmp_path / "mine" / "model.safetensors")
    assert main(argv) == 0
    assert search(TEXT, model="tuned").out != first


def test_the_base_of_adapters_that_was_trained_again_is_noticed(models, photos, tmp_path, capsys):
    shutil.copytree(models / "base", tmp_path / "mine")
    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    adapted = get_peft_model(CLIPModel.from_pretrained("mine"), lora)
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "mine")
    adapted.save_pretrained("adapters")

    def found(cache):
        argv = ["search", "photos", "a cat", "--model_name_or_path", "adapters", "--embedding_cache_dir", cache]
        assert main(argv) == 0
        return capsys.readouterr().out

    first = found("cache")
    base = CLIPModel.from_pretrained("mine")
    with torch.no_grad():
        base.visual_projection.weight.neg_()
    base.save_pretrained("mine")
    assert found("cache") == found("another cache") != first


def test_queries_from_standard_input(search, monkeypatch, without_torch):
    alone = [search(text).out for text in ("a cat", "a dog - a cat")]
    without_torch()
    monkeypatch.setattr(sys, "stdin", io.StringIO("a cat\n\na dog - a cat\n"))
    assert search().out == "".join(alone)


def test_at_a_terminal_a_mistake_does_not_end_the_session(search, monkeypatch, without_torch):
    alone = search("a cat").out
    without_torch()

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    typed = Terminal("a cat -\na dog - a dog\na cat\n")
    monkeypatch.setattr(sys, "stdin", typed)
    result = search()
    assert result.out == alone
    assert result.err.count("query> ") == 4 and result.err.count("Error: The ") == 2
    assert result.err.endswith("query> \n")


def test_ctrl_c_at_the_prompt_ends_the_session(search, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

        def readline(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert search().err.endswith("query> \n")


def test_a_damaged_index_is_made_again(search):
    first = search(TEXT).out
    (index,) = Path("cache/searches").iterdir()
    (embeds,) = index.glob("embeds-*.npy")
    embeds.write_bytes(embeds.read_bytes()[:100])
    assert search(TEXT).out == first
    (index / "index.json").write_text("{}")
    assert search(TEXT).out == first
    assert len(list(index.glob("embeds-*.npy"))) == 1


def test_subfolders_that_are_left_out(photos):
    save_image(photos / ".hidden" / "h.png", 1)
    save_image(photos / "@eaDir" / "x.png", 1)
    save_image(photos / "._a.png", 1)
    (photos / "loop").symlink_to(photos.absolute())
    (photos / "nowhere.png").symlink_to(photos / "missing.png")
    (photos / "notes.txt").touch()

    def names(*excluded):
        return [file.path for file in list_images(photos, excluded)]

    assert names("@eaDir") == ["a.png", "b.jpg", "sub/deeper/c d.png", "sub/e.png"]
    assert names("deeper") == ["@eaDir/x.png", "a.png", "b.jpg", "sub/e.png"]
    assert names("@eaDir", "sub") == ["a.png", "b.jpg"]


def test_images_of_other_formats_and_links_to_nothing_are_counted(photos, capsys):
    for name in ("a.HEIC", "sub/b.heic", "c.avif", "notes.txt"):
        (photos / name).touch()
    (photos / "nowhere.png").symlink_to(photos / "missing.png")
    assert len(list_images(photos)) == 4
    assert capsys.readouterr().err.splitlines() == [
        "Warning: 1 link leads to no file: photos/nowhere.png",
        "Warning: 3 images are of formats that are not read (.avif, .heic): convert them to JPEG or PNG.",
    ]


def test_a_letter_that_the_output_lacks(search, photos, monkeypatch):
    shutil.copy(photos / "a.png", photos / "star ★.png")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "cp1252"))
    search(TEXT)
    assert rb"photos/star \u2605.png" in sys.stdout.buffer.getvalue()


def test_a_line_break_in_a_name(search, photos):
    shutil.copy(photos / "a.png", photos / "two\nlines.png")
    assert "  photos/two\\nlines.png\n" in search(TEXT).out
    result = search(TEXT, "--filepath_only")
    assert "photos/two\nlines.png\n" in result.out
    assert "Warning: 1 path holds a line break and fills several lines." in result.err


def test_index_says_what_it_is(search, models, photos):
    search(TEXT)
    (path,) = Path("cache/searches").glob("*/index.json")
    content = json.loads(path.read_text())
    assert content["images_folder"] == str(photos.absolute()) and content["model"] is not None
    assert [file[0] for file in content["files"]] == ["a.png", "b.jpg", "sub/deeper/c d.png", "sub/e.png"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("nowhere a", "nowhere: there is no such folder.\n"),
        ("photos/a.png a", "photos/a.png: there is no such folder.\n"),
        ("photos a -", "The query has nothing behind -"),
        ("photos photos/z.png", "The query names photos/z.png, but there is no such image file."),
        ("photos a --filepath_only --compare b", "--compare has no effect with --filepath_only"),
        ("photos --html x.html", "--html has no effect without a query"),
        ("photos a --html x.txt", "--html x.txt: name a file that ends in .html."),
        ("photos a --revision main", "--revision has no effect on the local folder ."),
        ("photos a --compare .", "--compare .: this is the model itself"),
        ("photos a --top 0", "--top must be 1 or more, got 0."),
    ],
)
def test_a_mistake_is_one_sentence(argv, says, photos, capsys):
    assert main(["search", *argv.split(), "--model_name_or_path", "."]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and says in error and not Path("x.html").exists()


def test_an_empty_name_is_not_the_working_directory(photos, capsys):
    assert main(["search", "", "a cat", "--model_name_or_path", "."]) == 1
    assert capsys.readouterr().err == "Error: IMAGES_FOLDER is empty: name a folder of images.\n"
    assert main(["search", "photos", "a cat", "--model_name_or_path", ".", "--html", ""]) == 1
    assert capsys.readouterr().err == "Error: --html : name a file that ends in .html.\n"


def test_a_page_of_results(search, photos, models):
    result = search(TEXT, "--compare", str(models / "tuned"), "--top", "2", "--html", "pages/found.html")
    page = Path("pages/found.html").read_text(encoding="utf-8")
    assert result.err.endswith("Page: pages/found.html\n")
    assert page.count("data:image/jpeg;base64,") == 4 and page.count("<h2>") == 2 and f"<h1>{TEXT}</h1>" in page


def test_a_thumbnail_that_is_missing_is_said(search, photos, monkeypatch):
    found = Searcher.search

    def delete(searcher, *query):
        images = found(searcher, *query)
        (photos / "a.png").unlink()
        return images

    monkeypatch.setattr(Searcher, "search", delete)
    error = search(TEXT, "--html", "found.html").err
    assert "Warning: 1 image has no thumbnail: photos/a.png was changed or deleted during the search" in error
    page = Path("found.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 3 and page.count("This image can no longer be read.") == 1


@pytest.mark.parametrize("option", [[], ["--embedding_cache_dir", ""]])
def test_the_default_cache_is_that_of_the_other_commands(option, photos, models, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hf"))
    assert main(["search", "photos", TEXT, "--model_name_or_path", str(models / "base"), *option]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "photos"]
    assert len(list((tmp_path / "hf/conclip/embeddings/searches").iterdir())) == 1


def test_the_index_is_an_entry_of_the_cache(search, photos, models, capsys):
    found = search(TEXT).out
    assert main(["cache", "--cache_dir", "cache"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "search index" in line]
    assert "/base " in line and "/photos " in line and " 4 " in line
    assert main(["cache", "--cache_dir", "cache", "--delete", line.split()[0], "--yes"]) == 0
    assert not list(Path("cache/searches").iterdir())
    capsys.readouterr()
    assert search(TEXT).out == found


def test_another_family_goes_through_torch_each_time_and_says_so(photos, tmp_path, capsys):
    save_other(tmp_path / "siglip", "siglip")
    argv = ["search", "photos", TEXT, "--model_name_or_path", "siglip", "--embedding_cache_dir", "cache"]
    results = []
    for _ in range(2):
        assert main(argv) == 0
        results.append(capsys.readouterr())
        assert "Loading siglip with torch, which takes seconds." in results[-1].err
        assert "is cut" not in results[-1].err
    assert results[0].out == results[1].out and len(table(results[0].out)) == 4
    assert embedded(results[1].err) == 0
    # A letter is a token.
    argv[2] = "A" * SIGLIP_LENGTH
    assert main(argv) == 0
    assert f"Warning: 1 text is cut to {SIGLIP_LENGTH} tokens" in capsys.readouterr().err


def test_folders_that_cannot_be_read_are_named_on_standard_error(search, photos, monkeypatch):
    scandir = os.scandir

    def scan(path):
        if Path(path).name in ("deeper", "closed"):
            raise PermissionError
        return scandir(path)

    (photos / "closed").mkdir()
    monkeypatch.setattr("conclip.search.index.os.scandir", scan)
    result = search(TEXT, "--filepath_only")
    assert "Warning: 2 folders cannot be read and are left out, such as photos/" in result.err
    assert sorted(result.out.split()) == ["photos/a.png", "photos/b.jpg", "photos/sub/e.png"]
    (photos / "closed").rmdir()
    assert "Warning: 1 folder cannot be read: photos/sub/deeper\n" in search(TEXT).err


def test_a_text_that_is_cut_is_said(search):
    assert "is cut" not in search("a cat").err
    result = search(f"{'a cat ' * 100} - {'a dog ' * 100}", "--top", "1")
    assert f"Warning: 2 texts are cut to {TEXT_LENGTH} tokens" in result.err and len(table(result.out)) == 1


def test_a_name_that_is_not_utf_8_goes_out_as_it_is(photos, models, capfdbinary, monkeypatch):
    name = os.fsdecode(b"caf\xe9.png")
    (photos / "a.png").rename(photos / name)
    argv = ["search", "photos", f"photos/{name}", "--model_name_or_path", str(models / "base"), "--top", "1"]
    argv += ["--embedding_cache_dir", "cache"]
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    assert main([*argv, "--filepath_only", "--html", "found.html"]) == 0
    assert sys.stdout.buffer.getvalue() == b"photos/caf\xe9.png\n"
    page = Path("found.html").read_text(encoding="utf-8")
    assert 'href="photos/caf%E9.png"' in page and page.count("caf?.png") == 4
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"photos/caf\xe9.png\ncaf\xe9\n"), "utf-8"))
    argv.remove(f"photos/{name}")
    assert main(argv) == 1
    assert b"photos/caf\xe9.png" in sys.stdout.buffer.getvalue().splitlines()[-1]
    assert b"Error: The query is not UTF-8 text" in capfdbinary.readouterr().err


def test_compare_without_query_arithmetic_takes_the_same_revision(photos, monkeypatch):
    asked = []

    def note(self, folder, images, name, cache_dir, revision, exclude_dir, query_arithmetic, *others):
        asked.append((name, revision, query_arithmetic))

    monkeypatch.setattr(Searcher, "__init__", note)
    monkeypatch.setattr("conclip.search.searcher.report_broken", lambda folder, searchers: None)
    monkeypatch.setattr("conclip.search.searcher.with_names", lambda searchers: [])
    options = ["--model_name_or_path", "me/clip", "--revision", "v1", "--query_arithmetic", "--compare"]
    for other in ("me/clip", "me/other"):
        assert main(["search", "photos", "a cat", *options, other]) == 0
    assert asked == [
        ("me/clip", "v1", True),
        ("me/clip", "v1", False),
        ("me/clip", "v1", True),
        ("me/other", None, False),
    ]
