"""What a search needs transformers for: embeddings of new images, and texts of models that are no CLIP."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm
from transformers import AutoTokenizer
from transformers.utils import cached_file

from conclip.atomic_write import write_atomically
from conclip.embedding.fingerprint import encoder_fingerprint
from conclip.embedding.image_files import decode, read_encoded
from conclip.embedding.image_hashes import NO_KEY, image_key
from conclip.embedding.image_modes import ImageError
from conclip.embedding.images import leave_ctrl_c_to_main_process, require_finite
from conclip.embedding.store import EmbeddingStore, ShardWriter
from conclip.evaluation.query_encoder import QueryEncoder
from conclip.hub import use_cache_without_network
from conclip.models.arguments import start_accelerator
from conclip.models.cached_encoder import CachedEncoder
from conclip.models.loading import LoadedModel, load_encoders
from conclip.models.saving import PROCESSOR_FILES
from conclip.negation.query import parse_query
from conclip.search.index import ImageFile, Index, stamp
from conclip.search.text_encoder import CONFIG, cut_warning, read_text_encoder

# The files that embeddings depend on.
MODEL_FILES = ("config.json", "adapter_config.json", "*.safetensors", "*.bin", *PROCESSOR_FILES)
# On a CPU larger batches are no faster, and a run that is killed loses the whole batch.
BATCH_ON_CPU = 32
# A text to check that numpy computes what the model does, and how far the two may differ: by rounding in float32, and
# in lower precision.
PROBE, ROUNDING, LOWER_PRECISION = "a photo of a dog", 1e-4, 0.05


@dataclass
class SearchModel:
    """
    A model that is loaded when it is first needed.

    Args:
        name_or_path: folder or Hub id.
        cache_dir: folder of the cached embeddings.
        mixed_precision: "bf16", "fp16", or `None` for that of `accelerate launch`.
    """

    name_or_path: str
    revision: str | None
    cache_dir: Path
    mixed_precision: str | None = None
    batch_size: int = 256
    num_workers: int = 0

    @cached_property
    def loaded(self) -> LoadedModel:
        accelerator = start_accelerator(self.mixed_precision)
        use_cache_without_network([self.name_or_path])
        return load_encoders(
            self.name_or_path, accelerator, self.cache_dir, self.revision, self.batch_size, self.num_workers
        )

    def texts(self, texts: list[str], query_arithmetic: bool = False) -> np.ndarray:
        """Embed texts, those with negation by query arithmetic if that is asked for: float32, (n, d), unit rows."""
        encoder = self.loaded.encoder
        read = [part for text in texts for part in _embedded_parts(text)] if query_arithmetic else texts
        if warning := cut_warning(encoder.count_cut(read), encoder.max_length):
            print(f"Warning: {warning}", file=sys.stderr)
        return (self._query_encoder.texts(texts) if query_arithmetic else encoder.embed_queries(texts)).numpy()

    @cached_property
    def _query_encoder(self) -> QueryEncoder:
        return QueryEncoder(self.loaded.encoder)

    def image(self, path: str) -> np.ndarray:
        """
        Embed an image: float32, (d,), of unit length.

        Raises:
            ImageError: it cannot be read.
        """
        encoder = self.loaded.encoder
        try:
            image = decode(read_encoded(None, path))
        except ImageError as error:
            raise ImageError(f"{error.naming(path)}.") from error
        return encoder.embed_batch(encoder.to_pixels([image]))[0].cpu().numpy()


def _embedded_parts(text: str) -> list[str]:
    """Return the texts that query arithmetic embeds for a query."""
    query = parse_query(text)
    return [part for part in (query.wanted, *query.unwanted) if part] if query.unwanted else [text]


def update_index(model: SearchModel, folder: Path, found: Sequence[ImageFile], earlier: Index | None) -> Index:
    """
    Return the index of the files in a folder; what an earlier index of the same encoder has is taken from it.

    Args:
        folder: the folder of images.
        found: its files.

    Raises:
        UsageError: the model cannot be loaded, an embedding is not finite, or the cache cannot be written to.
    """
    encoder = model.loaded.encoder
    fingerprint = encoder_fingerprint(encoder.image_description)
    known, broken = {}, {}
    if earlier is not None and earlier.image_encoder == fingerprint:
        known = {file: row for row, file in enumerate(earlier.files)}
        again = set(earlier.openable(folder))
        broken = {file: reason for file, reason in earlier.broken if file not in again}
    new = [file for file in found if file not in known and file not in broken]
    embeds, failed = embed_files(encoder, folder, new)
    broken |= failed
    files = [file for file in found if file not in broken]
    width = embeds.shape[1] if len(embeds) else earlier.embeds.shape[1] if known else 0
    rows = np.empty((len(files), width), np.float32)
    at_new = {file: row for row, file in enumerate(file for file in new if file not in failed)}
    is_new = np.array([file in at_new for file in files], bool)
    if is_new.any():
        rows[is_new] = embeds[[at_new[file] for file in files if file in at_new]]
    if not is_new.all():
        rows[~is_new] = earlier.embeds[[known[file] for file in files if file not in at_new]]
    return Index(files, rows, [(file, broken[file]) for file in found if file in broken], fingerprint)


def embed_files(
    encoder: CachedEncoder, folder: Path, files: Sequence[ImageFile]
) -> tuple[np.ndarray, dict[ImageFile, str]]:
    """
    Embed image files; embeddings are cached by the content of the file, also those made before Ctrl-C.

    Returns:
        The embeddings of the files that can be read, float32, (n, d), unit rows, in their order; and of the others,
        the reasons.

    Raises:
        UsageError: an embedding is not finite, or the cache cannot be written to.
    """
    if not files:
        return np.empty((0, 0), np.float32), {}
    images = _Files(folder, files)
    keys, failed = images.read_keys()
    description = encoder.image_description
    cache_dir = encoder.embedder.cache_dir / encoder_fingerprint(description)
    store = EmbeddingStore(cache_dir, description, str(folder))
    readable = np.array([file not in failed for file in files], bool)
    _, missing = store.missing(keys[readable])
    missing = np.flatnonzero(readable)[missing]
    written = []
    if len(missing):
        with ShardWriter(store) as writer:
            for at, embeds in _embed_missing(encoder, images, missing, failed):
                writer.add(keys[at], embeds)
        written = writer.names
    # The same content under another name is as broken.
    reasons = {keys[row].tobytes(): failed[file] for row, file in enumerate(files) if file in failed}
    reasons.pop(NO_KEY, None)
    for row, file in enumerate(files):
        if keys[row].tobytes() in reasons:
            failed[file] = reasons[keys[row].tobytes()]
    good = np.array([file not in failed for file in files], bool)
    if not good.any():
        return np.empty((0, 0), np.float32), failed
    return store.read(keys[good], written)[:].numpy(), failed


class _Files(Dataset):
    """Image files, read and decoded one by one; an item is an image, or the reason why there is none."""

    def __init__(self, folder: Path, files: Sequence[ImageFile]):
        self.paths, self.files = [str(folder / file.path) for file in files], files
        self.keys: np.ndarray | None = None

    def read_keys(self) -> tuple[np.ndarray, dict[ImageFile, str]]:
        """Return the keys of all files, uint8, (files, 16), zeros for those that cannot be read; and the reasons."""
        keys, failed = [], {}
        for file, path in zip(
            self.files, tqdm(self.paths, "Reading images", unit=" images", leave=False), strict=True
        ):
            try:
                keys.append(image_key(read_encoded(None, path)))
            except ImageError as error:
                keys.append(NO_KEY)
                failed[file] = str(error)
        self.keys = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, len(NO_KEY))
        return self.keys, failed

    def __getitem__(self, row: int) -> tuple[int, PIL.Image.Image | str]:
        try:
            content = read_encoded(None, self.paths[row])
            if image_key(content) != self.keys[row].tobytes():
                return row, "it was changed while it was read; the next search reads it again"
            return row, decode(content)
        except ImageError as error:
            return row, str(error)

    def where(self, row: int) -> str:
        return self.paths[row]


def _embed_missing(encoder: CachedEncoder, images: _Files, missing: np.ndarray, failed: dict[ImageFile, str]):
    """Yield rows and their embeddings, float32, (n, d), unit rows on the device; add to `failed` what has none."""
    embedder = encoder.embedder
    on_cpu = embedder.accelerator.device.type == "cpu"
    loader = DataLoader(
        torch.utils.data.Subset(images, missing.tolist()),
        batch_size=min(embedder.batch_size, BATCH_ON_CPU) if on_cpu else embedder.batch_size,
        collate_fn=partial(_collate, preprocess=encoder.to_pixels),
        num_workers=embedder.num_workers,
        worker_init_fn=leave_ctrl_c_to_main_process,
    )
    with tqdm(total=len(missing), desc="Embedding images", unit=" images") as bar:
        for at, pixels, reasons in loader:
            failed.update((images.files[row], reason) for row, reason in reasons)
            if len(at):
                embeds = encoder.embed_batch(pixels)
                require_finite(embeds, images, at)
                yield at, embeds
            bar.update(len(at) + len(reasons))


def _collate(items: list[tuple[int, PIL.Image.Image | str]], preprocess: Callable[[list[PIL.Image.Image]], Any]):
    """Return the rows of images, int64, (n,), their preprocessed pixels, and the rows without one with the reasons."""
    good = [(row, image) for row, image in items if not isinstance(image, str)]
    reasons = [(row, reason) for row, reason in items if isinstance(reason, str)]
    pixels = preprocess([image for _, image in good]) if good else None
    return np.array([row for row, _ in good], np.int64), pixels, reasons


def describe_model(model: SearchModel, index_dir: Path) -> dict:
    """
    Return what later searches need to know of a model, and write its tokenizer into the folder of the index.

    Returns:
        "files": path -> `stamp` of the files of the model; "text": for a CLIP whose texts numpy can embed, "weights",
        the path, and "config", see `TextEncoder`; otherwise `None`.

    Raises:
        WriteError: the folder cannot be written to.
    """
    name, description = model.name_or_path, model.loaded.description
    base = description.get("base_model")
    if base is None:
        folders = [_folder_of(name, "config.json", description["revision"] or model.revision)]
    else:
        # Of adapters, the description has the commit of the base.
        adapters = _folder_of(name, "adapter_config.json", model.revision)
        folders = [adapters, _folder_of(base, "config.json", description["revision"])]
    paths = sorted({path for folder in folders for pattern in MODEL_FILES for path in folder.glob(pattern)})
    return {
        "files": {str(path): stamp(path) for path in paths},
        "text": _describe_text_encoder(model, folders[0] / "model.safetensors", index_dir),
    }


def _folder_of(name: str, config: str, revision: str | None) -> Path:
    """Return the folder of a model, of one on the Hub that in the cache; `config` is a file that it has."""
    folder = Path(name) if Path(name).is_dir() else Path(cached_file(name, config, revision=revision)).parent
    return folder.absolute()


def _describe_text_encoder(model: SearchModel, weights: Path, index_dir: Path) -> dict | None:
    description = model.loaded.description
    if description["model_type"] != "clip" or description.get("base_model") or not weights.is_file():
        return None
    config = {name: model.loaded.encoder.text_description["text_config"].get(name) for name in CONFIG}
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, trust_remote_code=False)
    write_atomically(index_dir / "tokenizer.json", tokenizer.backend_tokenizer.to_str().encode())
    facts = {"weights": str(weights), "config": config}
    try:
        found = read_text_encoder(facts, index_dir)([PROBE])
    # An activation or a dtype that numpy does not have.
    except (KeyError, ValueError, IndexError):
        return None
    exact = model.loaded.encoder.embedder.accelerator.mixed_precision == "no"
    difference = np.abs(found - model.texts([PROBE])).max()
    return facts if difference < (ROUNDING if exact else LOWER_PRECISION) else None
