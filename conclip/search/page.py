"""The results of a search as one HTML page: thumbnails inside, no script, and nothing from other servers."""

import base64
import html
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import PIL.Image
import PIL.ImageOps

from conclip.embedding.image_modes import PROGRAMS, large_images, to_rgb

# Pixels of the longer side of a thumbnail.
SIDE = 320
# In place of a thumbnail.
GONE = "This image can no longer be read."
STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.4 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 90rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1rem 0 .5rem; overflow-wrap: anywhere; }
p { margin: 0; opacity: .75; overflow-wrap: anywhere; }
.models { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 0 2rem; }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
li { border: 1px solid var(--line); border-radius: .5rem; overflow: hidden; }
a { color: inherit; text-decoration: none; display: block; }
a:focus-visible { outline: 3px solid Highlight; outline-offset: -3px; }
img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #8881; }
.gone { display: grid; place-items: center; aspect-ratio: 1; padding: .6rem; text-align: center; background: #8881; }
.text { padding: .4rem .6rem; font-size: .85rem; overflow-wrap: anywhere; }
.score { font-weight: 600; font-variant-numeric: tabular-nums; }
"""


def results_page(
    query: str,
    folder: Path,
    found: Sequence[tuple[str, Sequence[tuple[Path, float]]]],
    thumbnails: Mapping[Path, str | None],
    file: Path,
) -> str:
    """
    Return the page, in HTML.

    Args:
        query: the query as it was typed.
        folder: the folder that was searched.
        found: for each model its name and the images with their scores, best first.
        thumbnails: those of the images, see `thumbnail`.
        file: where the page will be: the links to the images are relative to its folder.
    """
    title = _escape(query)
    sections = "\n".join(_section(name, images, folder, thumbnails, file) for name, images in found)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p>{_escape(str(folder))}</p>
<main class="models">
{sections}
</main>
</body>
</html>
"""


def _section(
    name: str,
    images: Sequence[tuple[Path, float]],
    folder: Path,
    thumbnails: Mapping[Path, str | None],
    file: Path,
) -> str:
    items = "\n".join(
        _item(place, path, score, folder, thumbnails[path], file)
        for place, (path, score) in enumerate(images, start=1)
    )
    return f"<section>\n<h2>{_escape(name)}</h2>\n<ol>\n{items}\n</ol>\n</section>"


def _item(place: int, path: Path, score: float, folder: Path, small: str | None, file: Path) -> str:
    name = path.relative_to(folder).as_posix()
    relative = Path(os.path.relpath(path.absolute(), file.absolute().parent)).as_posix()
    link, label = quote(relative, errors="surrogateescape"), _escape(name)
    image = f'<img src="{small}" alt="{label}" loading="lazy">' if small else f'<div class="gone">{GONE}</div>'
    return (
        f'<li><a href="{link}">{image}'
        f'<div class="text"><span class="score">{place}. {score:.3f}</span><br>{label}</div></a></li>'
    )


def _escape(text: str) -> str:
    """Return a text as HTML; a byte of a file's name that is not UTF-8 becomes a question mark."""
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))


def thumbnail(path: Path) -> str | None:
    """Return a small JPEG of an image as a data URI; `None` if the image can no longer be read."""
    try:
        with large_images(), PIL.Image.open(path) as image:
            if image.format in PROGRAMS:
                return None
            # JPEG is decoded at the smallest size that is large enough.
            image.draft("RGB", (SIDE, SIDE))
            return as_data_uri(to_rgb(PIL.ImageOps.exif_transpose(image)), SIDE)
    # Pillow raises errors of many types; the file was readable when it was embedded.
    except Exception:
        return None


def as_data_uri(image: PIL.Image.Image, side: int) -> str:
    """Return an RGB image as a JPEG in a data URI, made smaller in place to a longer side of at most `side` pixels."""
    image.thumbnail((side, side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
