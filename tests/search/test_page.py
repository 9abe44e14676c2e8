"""The page of results: read back with Python's own parser of HTML."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import PIL.Image
import pytest

from conclip.search.page import GONE, SIDE, results_page, thumbnail

NASTY = """<script>alert("1")</script> & 'a' """


class Reader(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += [data.strip()] if data.strip() else []

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def save(path, size=(1000, 500), orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = PIL.Image.new("RGB", size, "red")
    exif = PIL.Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("my photos")
    nasty = save(folder / "sub" / '50% "off" <b> #1?.png')
    turned = save(folder / "turned.jpg", orientation=6)
    gone = folder / "gone.png"
    found = [("one <model>", [(nasty, 0.31251), (turned, -0.1)]), ("two", [(turned, 0.5), (gone, 0.4)])]
    thumbnails = {path: thumbnail(path) for path in (nasty, turned, gone)}
    return Reader(results_page(NASTY, folder, found, thumbnails, Path("pages/found.html")))


def test_nothing_of_a_query_or_a_name_is_taken_for_html(page):
    assert {tag for tag, _ in page.tags} == set(
        "html head meta title style body h1 p main section h2 ol li a img div span br".split()
    )
    assert page.text.count(NASTY.strip()) == 2 and "one <model>" in page.text


def test_scores_and_alt_texts(page):
    assert [text for text in page.text if text[0].isdigit() and ". " in text] == [
        "1. 0.313",
        "2. -0.100",
        "1. 0.500",
        "2. 0.400",
    ]
    names = ['sub/50% "off" <b> #1?.png', "turned.jpg", "turned.jpg", "gone.png"]
    assert [image["alt"] for image in page.all("img")] == names[:3] and page.text.count(GONE) == 1
    assert [text for text in page.text if text in names] == names


def test_links_lead_from_the_page_to_the_image(page):
    for link, path in zip(page.all("a"), ['sub/50% "off" <b> #1?.png', "turned.jpg"], strict=False):
        assert Path("pages", unquote(link["href"])).resolve() == Path("my photos", path).resolve()
        assert not {*'?#"<> '} & {*link["href"]}


def test_the_page_holds_its_thumbnails(page):
    kinds = [image["src"].partition(",") for image in page.all("img")]
    assert [start for start, *_ in kinds] == ["data:image/jpeg;base64"] * 3
    sizes = []
    for _, _, content in kinds:
        image = PIL.Image.open(io.BytesIO(base64.b64decode(content)))
        assert np.abs(np.asarray(image).mean(axis=(0, 1)) - [254, 0, 0]).max() < 4
        sizes.append(image.size)
    # Orientation 6: the image lies on its side.
    assert sizes == [(SIDE, SIDE // 2), (SIDE // 2, SIDE), (SIDE // 2, SIDE)]


def test_a_thumbnail_of_16_bits_is_not_white(tmp_path):
    PIL.Image.fromarray(np.full((50, 100), 0x4020, np.uint16)).save(tmp_path / "grey.png")
    content = thumbnail(tmp_path / "grey.png").partition(",")[2]
    assert np.abs(np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(content)))).astype(int) - 0x40).max() < 3


def test_the_page_fits_a_phone_and_asks_no_server(page):
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert not any(str(value).startswith(("http", "//")) for _, own in page.tags for value in own.values())


def test_a_large_image_has_a_thumbnail_and_no_warning(tmp_path, monkeypatch, recwarn):
    path = save(tmp_path / "large.png", (30, 20))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 500)
    assert thumbnail(path) and not recwarn.list
