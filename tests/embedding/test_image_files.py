"""Columns of paths, URLs and bytes are images like others; images of 16 bits are scaled."""

import io
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest
from bad_rows import encoded

from conclip.embedding import image_files
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.image_files import as_image_column, decode
from conclip.embedding.image_hashes import StoredImages
from conclip.embedding.image_modes import to_rgb
from conclip.errors import UsageError

COLORS = ["red", "green", "blue"]
CONTENTS = [encoded(color) for color in COLORS]
NAMES = [f"{color}.png" for color in COLORS]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name, content in zip(NAMES, CONTENTS, strict=True):
        (tmp_path / "images" / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def server(folder):
    """Serves the images; "/slow" never answers, anything else is not found. Yields the address and the paths asked."""
    asked, stop = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            path = folder / "images" / self.path.partition("?")[0].lstrip("/")
            if self.path == "/slow":
                stop.wait(20)
            elif path.is_file():
                self.send_response(200)
                self.end_headers()
                self.wfile.write(path.read_bytes())
            else:
                self.send_error(404)

        def log_message(self, *given):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", asked
    stop.set()
    running.shutdown()


def columns(folder) -> dict[str, list]:
    paths = [str(folder / "images" / name) for name in NAMES]
    return {
        "relative": [f"images/{name}" for name in NAMES],
        "absolute": paths,
        "bytes": CONTENTS,
        "dicts of paths": [{"path": f"images/{name}"} for name in NAMES],
        "dicts of bytes": [{"bytes": content, "path": None} for content in CONTENTS],
        "dicts of both": [{"bytes": content, "path": "elsewhere.png"} for content in CONTENTS],
        "lists": [[f"images/{name}"] for name in NAMES],
        "lists of bytes": [[content] for content in CONTENTS],
    }


@pytest.mark.parametrize("others", [False, True], ids=["alone", "with another column"])
@pytest.mark.parametrize("form", columns(Path()))
def test_every_form_gives_the_same_images_and_keys(folder, form, others):
    values = columns(folder)[form]
    more = {"caption": ["a", "b", "c"]} if others else {}
    dataset = as_image_column(datasets.Dataset.from_dict({"image": values, **more}), "image", folder)
    assert dataset.num_rows == 3 and all(dataset[name][:] == texts for name, texts in more.items())
    places = np.zeros(3, np.int64) if form.startswith("lists") else None
    images = ImageColumn(dataset, "image", "train", np.arange(3), places)
    for index, color in enumerate(COLORS):
        assert images[index].mode == "RGB"
        assert images[index].getpixel((0, 0)) == PIL.Image.new("RGB", (1, 1), color).getpixel((0, 0))
    features = datasets.Features({"image": datasets.Image()})
    plain = datasets.Dataset.from_dict({"image": [{"bytes": content} for content in CONTENTS]}, features=features)
    assert np.array_equal(images.stored.keys(), StoredImages(plain, "image", np.arange(3)).keys())


def test_paths_of_selected_rows_without_a_folder_are_relative_to_the_working_directory(folder, monkeypatch):
    monkeypatch.chdir(folder / "images")
    dataset = datasets.Dataset.from_dict({"image": NAMES}).select([2, 0])
    images = ImageColumn(dataset, "image", "train")
    assert [images[row].getpixel((0, 0)) for row in (0, 1)] == [(0, 0, 255), (255, 0, 0)]


def test_an_index_of_paths_needs_no_dataset_on_disk(folder):
    def index(names):
        dataset = datasets.Dataset.from_dict({"image": names})
        return ImageColumn(as_image_column(dataset, "image", folder / "images"), "image", "").stored.index_path(folder)

    first = index(NAMES)
    assert first == index(NAMES) and first not in (None, index(NAMES[::-1]))
    os.utime(folder / "images" / "red.png", (1, 1))
    assert index(NAMES) not in (None, first)


def test_urls(server):
    address, asked = server
    urls = [f"{address}/{name}?size=1" for name in NAMES]
    images = ImageColumn(datasets.Dataset.from_dict({"image": urls}), "image", "train")
    assert [images[row].getpixel((0, 0)) for row in range(3)] == [(255, 0, 0), (0, 128, 0), (0, 0, 255)]
    keys = images.stored.keys()
    assert keys.any(axis=1).all() and len(asked) == 3, "each was fetched once"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/none.png", "/none.png: the server answers 404 Not Found."),
        ("/slow", "/slow: no answer within 0.3 seconds."),
        (None, "Connection refused."),
        ("http://[bad", "http://[bad: Invalid IPv6 URL."),
    ],
)
def test_a_url_that_fails_is_one_sentence_in_seconds(server, path, says, monkeypatch):
    monkeypatch.setattr(image_files, "URL_TIMEOUT", 0.3)
    address, asked = server
    first = "http://127.0.0.1:9/x.png" if path is None else path if "://" in path else address + path
    urls = [first] + [f"{address}/slow"] * 50
    images = ImageColumn(datasets.Dataset.from_dict({"image": urls}), "image", "train")
    begun = time.perf_counter()
    assert not images.stored.keys().any(), "after the first failure no other URL is tried"
    with pytest.raises(UsageError) as error:
        images[0]
    assert time.perf_counter() - begun < 5 and len(asked) <= 2
    assert str(error.value).startswith("Split 'train', row 0: cannot read image: ") and str(error.value).endswith(says)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([NAMES[0], "none.png"], "row 1: cannot read image: .*none.png: No such file or directory.$"),
        ([NAMES[0], ""], "row 1: cannot read image: there is neither an image nor a path.$"),
        ([NAMES[0], None], "row 1: cannot read image: there is neither an image nor a path.$"),
        ([NAMES[0], "."], "row 1: cannot read image: .*: Is a directory.$"),
        ([1, 2], "Split 'train': image holds int64; it has to hold images, paths, URLs or bytes.$"),
        ([[NAMES[0]], [NAMES[1]]], "Split 'train': image holds lists of images, not an image for each row.$"),
    ],
)
def test_values_that_are_no_images(folder, values, says):
    with pytest.raises(UsageError, match=says):
        dataset = as_image_column(datasets.Dataset.from_dict({"image": values}), "image", folder / "images")
        ImageColumn(dataset, "image", "train")[1]


def grey(values: np.ndarray, format: str) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(values).save(file, format)
    return file.getvalue()


RAMP = np.array([[0, 255, 256, 0x1234], [0x7FFF, 0x8000, 0xFEFF, 0xFFFF]], np.uint16)
HIGH_BYTES = [[0, 0, 1, 0x12], [0x7F, 0x80, 0xFE, 0xFF]]


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (grey(RAMP, "PNG"), "I;16"),
        (grey(RAMP, "TIFF"), "I;16"),
        (grey(RAMP.astype(">u2"), "TIFF"), "I;16B"),
        (grey(RAMP.astype(np.int32), "TIFF"), "I"),
        (b"P5 4 2 65535 " + RAMP.astype(">u2").tobytes(), "I"),
    ],
    ids=["PNG", "TIFF", "big-endian TIFF", "32-bit TIFF", "PGM"],
)
def test_16_bits_are_scaled_to_8(content, mode):
    stored = PIL.Image.open(io.BytesIO(content))
    assert stored.mode == mode
    for image in (decode(content), to_rgb(stored)):
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), np.repeat(np.array(HIGH_BYTES, np.uint8)[..., None], 3, axis=2))


def test_integers_of_8_bits_stay_as_they_are():
    image = to_rgb(PIL.Image.fromarray(np.array([[0, 7, 255]], np.int32)))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 7, 255]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((2, 2), np.float32), "its pixels are floating-point numbers of unknown range: save it with 8 or 16"),
        (np.array([[0, 70_000]], np.int32), "its pixels range from 0 to 70000: save it with 8 or 16 bits"),
        (np.array([[-1, 7]], np.int32), "its pixels range from -1 to 7"),
    ],
)
def test_pixels_of_unknown_range_are_refused(values, says):
    dataset = datasets.Dataset.from_dict({"image": [grey(values, "TIFF")]})
    with pytest.raises(UsageError, match=f"Split 'train', row 0: cannot read image: {says}"):
        ImageColumn(dataset, "image", "train")[0]


def test_json_lines_of_dicts(folder):
    lines = [json.dumps({"image": {"path": name, "bytes": None}}) for name in NAMES]
    (folder / "data.jsonl").write_text("\n".join(lines))
    dataset = datasets.load_dataset("json", data_files=str(folder / "data.jsonl"), split="train")
    images = ImageColumn(as_image_column(dataset, "image", folder / "images"), "image", "train")
    assert images[2].getpixel((0, 0)) == (0, 0, 255)


def test_a_damaged_file_is_named(folder):
    (folder / "images" / "red.png").write_bytes(CONTENTS[0][:-20])
    images = ImageColumn(datasets.Dataset.from_dict({"image": [str(folder / "images" / "red.png")]}), "image", "test")
    with pytest.raises(UsageError, match=r"^Split 'test', row 0: cannot read image: /.*/red.png: image file is trunc"):
        images[0]


def test_a_large_image_is_read_without_a_warning(monkeypatch, recwarn):
    content = io.BytesIO()
    PIL.Image.new("RGB", (30, 20), "red").save(content, "PNG")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 500)
    assert decode(content.getvalue()).size == (30, 20) and not recwarn.list
