"""A folder of images that can be searched: its index is brought up to date once, then any number of queries run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conclip.atomic_write import naming_option, writable_folder
from conclip.errors import UsageError
from conclip.search.index import ImageFile, index_folder, list_images, read_index, write_index
from conclip.search.terms import Term, combine
from conclip.search.text_encoder import TextEncoder, read_text_encoder

if TYPE_CHECKING:
    from conclip.search.embedding import SearchModel

# Broken images that are named.
NAMED = 20


class Searcher:
    """
    The images of a folder, found by one model.

    Args:
        images_folder: folder of images, with its subfolders.
        images: its files, see `images_in`.
        model_name_or_path: folder or Hub id of a model of any family that `conclip evaluate` knows.
        cache_dir: folder of the cached embeddings, in which the index is kept, too.
        revision: branch, tag or commit of the model on the Hub.
        exclude_dir: names of subfolders to leave out.
        query_arithmetic: embed texts with negation by query arithmetic.
        mixed_precision, batch_size, num_workers: see `SearchModel`.

    Raises:
        UsageError: the model cannot be loaded, or the cache cannot be written to.
    """

    def __init__(
        self,
        images_folder: Path,
        images: Sequence[ImageFile],
        model_name_or_path: str,
        cache_dir: Path,
        revision: str | None = None,
        exclude_dir: Sequence[str] = (),
        query_arithmetic: bool = False,
        mixed_precision: str | None = None,
        batch_size: int = 256,
        num_workers: int = 0,
    ):
        self.images_folder, self.name, self.query_arithmetic = images_folder, model_name_or_path, query_arithmetic
        self._cache_dir, self._revision = cache_dir, revision
        self._computation = {
            "mixed_precision": mixed_precision,
            "batch_size": batch_size,
            "num_workers": num_workers,
        }
        local = Path(model_name_or_path)
        settings = {
            "images_folder": str(images_folder.absolute()),
            "name": str(local.absolute()) if local.is_dir() else model_name_or_path,
            "revision": revision,
            "exclude_dir": sorted(exclude_dir),
            "mixed_precision": mixed_precision,
        }
        self._index_dir = index_folder(cache_dir, settings)
        self.index = read_index(self._index_dir)
        # Those that an earlier search named.
        self.known_broken = {file for file, _ in self.index.broken} if self.index else set()
        if self.index is None or not self.index.is_current(images) or self.index.openable(images_folder):
            self._update(images, settings)

    def search(self, terms: Sequence[Term], top: int) -> list[tuple[Path, float]]:
        """
        Return the images nearest to a query, best first, with their cosine similarities.

        Raises:
            UsageError: an image of the query cannot be read, or its terms cancel each other.
        """
        return [
            (self.images_folder / self.index.files[row].path, score)
            for row, score in self.index.best(self.embed(terms), top)
        ]

    def embed(self, terms: Sequence[Term]) -> np.ndarray:
        """Return the embedding of a query, float32, (d,), of unit length; raises as `search`."""
        texts = [term.text for term in terms if not term.is_image]
        embedded = iter(self._embed_texts(texts)) if texts else iter(())
        rows = [self._embed_image(term.text) if term.is_image else next(embedded) for term in terms]
        return combine(np.stack(rows), terms)

    def _embed_texts(self, texts: list[str]) -> np.ndarray:
        denying = self.query_arithmetic and self._say_what_is_denied(texts)
        if self._text_encoder is not None and not denying:
            return self._text_encoder(texts)
        with redirect_stdout(sys.stderr):
            return self._model.texts(texts, self.query_arithmetic)

    def _say_what_is_denied(self, texts: list[str]) -> bool:
        """Print how query arithmetic reads texts, and return whether one of them denies something."""
        # Imported late: a search without query arithmetic does not need it.
        from conclip.negation.query import parse_query

        queries = [parse_query(text) for text in texts]
        for text, query in zip(texts, queries, strict=True):
            if query.unwanted:
                unwanted = ", ".join(map(repr, query.unwanted))
                print(f"Query arithmetic: {query.wanted or 'anything'!r} without {unwanted}.", file=sys.stderr)
            else:
                print(f"Query arithmetic finds no negation in {text!r}, and searches it as it is.", file=sys.stderr)
        return any(query.unwanted for query in queries)

    def _embed_image(self, path: str) -> np.ndarray:
        if path not in self._embedded_images:
            inside = Path(path).absolute()
            folder = self.images_folder.absolute()
            relative = inside.relative_to(folder).as_posix() if inside.is_relative_to(folder) else None
            row = next((row for row, file in enumerate(self.index.files) if file.path == relative), None)
            if row is None:
                with redirect_stdout(sys.stderr):
                    self._embedded_images[path] = self._model.image(path)
            else:
                self._embedded_images[path] = self.index.embeds[row]
        return self._embedded_images[path]

    @cached_property
    def _embedded_images(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _text_encoder(self) -> TextEncoder | None:
        facts = self.index.model["text"]
        return read_text_encoder(facts, self._index_dir) if facts else None

    @cached_property
    def _model(self) -> SearchModel:
        print(f"Loading {self.name} with torch, which takes seconds.", file=sys.stderr)
        # Imported late: it takes seconds.
        from conclip.search.embedding import SearchModel

        return SearchModel(self.name, self._revision, self._cache_dir, **self._computation)

    def _update(self, found: Sequence[ImageFile], settings: dict) -> None:
        writable_folder(self._cache_dir, "--embedding_cache_dir")
        model = self._model
        # What these print is no result; --filepath_only feeds programs.
        with redirect_stdout(sys.stderr):
            from conclip.folder_lock import waiting_for
            from conclip.search.embedding import describe_model, update_index

            with (
                naming_option("--embedding_cache_dir"),
                waiting_for(self._index_dir, f"is embedding {self.images_folder}"),
            ):
                earlier = read_index(self._index_dir)
                self.index = update_index(model, self.images_folder, found, earlier)
                self.index.model = describe_model(model, self._index_dir)
                write_index(self._index_dir, self.index, settings)
                # Read back, so that the embeddings are memory-mapped.
                self.index = read_index(self._index_dir) or self.index


def images_in(folder: Path, exclude_dir: Sequence[str] = ()) -> list[ImageFile]:
    """
    Return the images of a folder, see `list_images`.

    Raises:
        UsageError: there is no such folder, or it has no images.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder.")
    found = list_images(folder, exclude_dir)
    if not found:
        raise UsageError(f"{folder} holds no images, nor do its subfolders; links to folders are not followed.")
    return found


def report_broken(folder: Path, searchers: Sequence[Searcher]) -> None:
    """
    Name the images that cannot be read, each once; of those that were named before, say how many there are.

    Raises:
        UsageError: no image can be read.
    """
    broken = {file: reason for searcher in searchers for file, reason in searcher.index.broken}
    if broken:
        new = [file for file in broken if not all(file in searcher.known_broken for searcher in searchers)]
        what = "images cannot be read and are" if len(broken) > 1 else "image cannot be read and is"
        lines = [f"Warning: {len(broken):,} {what} left out{':' if new else '.'}"]
        for file in new[:NAMED]:
            path, reason = str(folder / file.path), broken[file]
            lines.append(f"  {reason if path in reason else f'{path}: {reason}'}")
        if len(new) > NAMED:
            lines.append(f"  and {len(new) - NAMED:,} more")
        print("\n".join(lines), file=sys.stderr)
    if not any(searcher.index.files for searcher in searchers):
        raise UsageError(f"{folder}: none of its {len(broken):,} images can be read.")


def with_names(searchers: Sequence[Searcher]) -> list[tuple[str, Searcher]]:
    """Return searchers with the names of their models; with the folders around them where two have the same."""
    rules = [", query arithmetic" if searcher.query_arithmetic else "" for searcher in searchers]
    full = [f"{searcher.name}{rule}" for searcher, rule in zip(searchers, rules, strict=True)]
    short = [f"{Path(searcher.name).name}{rule}" for searcher, rule in zip(searchers, rules, strict=True)]
    return list(zip(short if len(set(short)) == len(short) else full, searchers, strict=True))
