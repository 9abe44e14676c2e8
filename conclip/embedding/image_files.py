"""
Images as datasets store them (encoded bytes, the path of a file, a URL): read and decoded.

Imports no torch, which `conclip negate` does without.
"""

import functools
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Sequence

import PIL.Image
import pyarrow as pa
from datasets import Dataset, Features, Image, IterableDataset, Value, concatenate_datasets
from datasets import Sequence as ListOf
from datasets.utils.file_utils import xopen

from conclip.embedding.image_modes import ImageError, large_images, require_image, to_rgb
from conclip.errors import one_line
from conclip.stream import features_of

# Seconds in which a server has to answer.
URL_TIMEOUT = 10.0
# Some servers, Wikimedia's among them, refuse the name of Python's library.
USER_AGENT = "Mozilla/5.0 (compatible; conclip)"


def as_image_column(dataset: Dataset, column: str, image_dir: str | os.PathLike = "") -> Dataset:
    """
    Make a column of images from a column of paths, URLs or bytes.

    Args:
        column: its values are paths, http(s) URLs, encoded bytes, dicts of "path" and "bytes", or lists of these.
        image_dir: the folder that relative paths are relative to, by default the working directory.

    Returns:
        The dataset with the column as `datasets.Image` or a list of `Image`. A column that is one already, or that
        holds something else, is left as it is.
    """
    feature, kind = dataset.features[column], dataset.data.schema.field(column).type
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    inner, kind = (getattr(feature, "feature", feature), kind.value_type) if listed else (feature, kind)
    images = ListOf(Image()) if listed else Image()
    if isinstance(inner, Image):
        return dataset
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return dataset.cast_column(column, images)
    paths = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if pa.types.is_struct(kind) and {field.name for field in kind} <= {"path", "bytes"}:
        if not _without_bytes(dataset, column, listed):
            return dataset.cast_column(column, images)
        paths = True
    if not paths:
        return dataset
    values = dataset.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    full = functools.partial(_full_path, image_dir=image_dir)
    values = [value and [*map(full, value)] if listed else full(value) for value in values]
    made = Dataset.from_dict({column: values}, features=Features({column: images}))
    rest = dataset.remove_columns([column])
    return concatenate_datasets([rest, made], axis=1) if rest.column_names else made


def with_full_paths(dataset: IterableDataset, columns: Sequence[str], image_dir: str | os.PathLike) -> IterableDataset:
    """
    Make the paths of images in a stream relative to the working directory, and dicts with "bytes" or "path" to images.

    Args:
        columns: names of columns of images; those that hold something else, or lists of it, are left as they are.
        image_dir: the folder that relative paths are relative to.
    """
    kinds = features_of(dataset)
    found = {name: getattr(kinds[name], "feature", kinds[name]) for name in columns if name in kinds}
    structs = [name for name, inner in found.items() if isinstance(inner, dict) and inner.keys() <= {"bytes", "path"}]
    # A column without any bytes has no type for them.
    of_paths = [name for name in structs if found[name].get("bytes", Value("null")) == Value("null")]
    of_paths += [name for name, inner in found.items() if inner in (Value("string"), Value("large_string"))]

    def full(name: str, value: str | dict | list | None) -> str | dict | list | None:
        if isinstance(value, list):
            return [full(name, one) for one in value]
        path = _full_path(value, image_dir)
        return {**dict.fromkeys(found[name]), "path": path} if name in structs else path

    def with_folder(row: dict) -> dict:
        return {name: full(name, row[name]) for name in of_paths}

    if of_paths:
        # The types are given, so that the stream keeps them.
        dataset = dataset.map(with_folder, features=kinds)
    for name in structs:
        dataset = dataset.cast_column(name, Image() if found[name] is kinds[name] else ListOf(Image()))
    return dataset


def _without_bytes(dataset: Dataset, column: str, listed: bool) -> bool:
    for chunk in dataset.data.column(column).chunks:
        structs = chunk.flatten() if listed else chunk
        names = [field.name for field in structs.type]
        if "bytes" in names and structs.field(names.index("bytes")).null_count < len(structs):
            return False
    return True


def _full_path(value: str | dict | None, image_dir: str | os.PathLike) -> str | None:
    path = value["path"] if isinstance(value, dict) else value
    if not path:
        return None
    return path if "://" in path else os.path.join(image_dir, path)


def read_encoded(content: bytes | None, path: str | None) -> bytes:
    """
    Return the encoded bytes of an image.

    Args:
        content: the bytes, if they are stored.
        path: otherwise, the path of a file, an http(s) URL, or another URL that `datasets` can open.

    Raises:
        ImageError: there is neither, no such file, or no answer from the server.
    """
    if content is not None:
        return content
    if not path:
        raise ImageError("there is neither an image nor a path")
    if path.startswith(("http://", "https://")):
        return _download(path)
    try:
        with xopen(path, "rb") if "://" in path else open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or one_line(error)}") from error
    # The libraries behind URLs raise many kinds of errors.
    except Exception as error:
        raise ImageError(f"{path}: {one_line(error)}") from error


# An image is decoded and then hashed again, see `KeyedImages`: this spares a download.
@functools.lru_cache(maxsize=4)
def _download(url: str) -> bytes:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
        with urllib.request.urlopen(request, timeout=URL_TIMEOUT) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        raise ImageError(f"{url}: the server answers {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise ImageError(f"{url}: no answer within {URL_TIMEOUT:g} seconds") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)
        late = isinstance(cause, TimeoutError)
        reason = f"no answer within {URL_TIMEOUT:g} seconds" if late else getattr(cause, "strerror", None) or cause
        raise ImageError(f"{url}: {reason}") from error


def decode(content: bytes, mode: str | None = None) -> PIL.Image.Image:
    """
    Decode an image as `datasets.Image` does, which turns it as its EXIF orientation says.

    Args:
        mode: the colour mode of the column's `Image` feature.

    Returns:
        An RGB image, see `to_rgb`.

    Raises:
        ImageError: the image cannot be decoded.
    """
    require_image(content)
    try:
        with large_images():
            return to_rgb(Image(mode=mode).decode_example({"bytes": content, "path": None}))
    except ImageError:
        raise
    # As above.
    except Exception as error:
        raise ImageError(one_line(error)) from error
