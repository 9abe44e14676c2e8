"""
Where the folder of cached embeddings is, and what it holds, listed and deleted.

Only what this package wrote is an entry; a folder with other files in it is neither listed nor touched. This imports
no torch, so that the list is there at once.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from conclip.atomic_write import UNFINISHED, reporting_write_errors
from conclip.folder_lock import READERS_FILE, InUse, if_free, without_readers

# Of fingerprints.
HEX = re.compile(r"[0-9a-f]{32}")
BASE = re.compile(rf"({UNFINISHED})?scenes-base-[0-9a-f]{{16}}")
# What a deletion that was stopped leaves: nobody reads it.
DELETED = "deleted-"
OF_ENCODER = re.compile(
    rf"meta\.json|{re.escape(READERS_FILE)}|(damaged-)?shard-[0-9a-f]{{32}}\.safetensors|{UNFINISHED}[0-9a-f]{{32}}"
)
OF_FILES = re.compile(rf"[0-9a-f]{{32}}\.safetensors|{UNFINISHED}[0-9a-f]{{32}}")
OF_NEGATIONS = re.compile(r"README\.md|(report|settings)\.json|samples\.md|data|\.work")
OF_SEARCH = re.compile(rf"(index|tokenizer)\.json|embeds-[0-9a-f]{{32}}\.npy|{UNFINISHED}[0-9a-f]{{32}}")
OF_BASE = re.compile(rf"README\.md|[\w.-]+\.(json|safetensors|txt)|image-encoder|{re.escape(READERS_FILE)}")
SHORT_ID = 8


@dataclass(frozen=True)
class Entry:
    """
    Something in the cache that is deleted as a whole.

    Args:
        name: its name in the cache.
        contents: what it is, for people.
        model: the model that it belongs to; "" if it belongs to none.
        data: names of the data.
        count: how many items it holds; `None` if that is not known.
        size: bytes on disk.
        last_used: seconds since the epoch.
    """

    path: Path
    contents: str
    model: str
    data: str
    count: int | None
    size: int
    last_used: float

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def short_id(self) -> str:
        """The beginning of the name that the list shows, and that `--delete` takes."""
        return self.name[:SHORT_ID] if HEX.fullmatch(self.name) else self.name


def embedding_cache_dir(folder: str | None = None) -> Path:
    """
    Return the folder in which embeddings are cached.

    Args:
        folder: the folder; "" or `None` for one in Hugging Face's cache.
    """
    if not folder:
        # Imported late: `conclip search` does without it where it can.
        from huggingface_hub import constants

        folder = Path(constants.HF_HOME) / "conclip" / "embeddings"
    return Path(folder).expanduser()


def list_entries(cache_dir: Path) -> list[Entry]:
    """Return the entries of a cache, the one that was used last first; none if there is no such folder."""
    entries = []
    for path in [own for pattern in ("*", "negations/*", "searches/*") for own in sorted(cache_dir.glob(pattern))]:
        if path.is_symlink() or not path.is_dir():
            continue
        # Another process may be deleting it.
        with suppress(OSError):
            entries += filter(None, [_entry(path)])
    return sorted(entries, key=lambda entry: -entry.last_used)


def _entry(path: Path) -> Entry | None:
    if path.parent.name == "negations" and HEX.fullmatch(path.name):
        return _negations(path)
    if path.parent.name == "searches" and HEX.fullmatch(path.name):
        return _search(path)
    if HEX.fullmatch(path.name):
        return _embeddings(path)
    if path.name in ("texts", "indexes"):
        files = _files(path, OF_FILES)
        contents = {"texts": "tokens of texts", "indexes": "hashes of images"}[path.name]
        return _made(path, contents, count=len(files), files=files) if files else None
    if path.name.startswith(DELETED) and HEX.fullmatch(path.name.removeprefix(DELETED)):
        return _made(path, "left by a deletion that was stopped")
    if BASE.fullmatch(path.name) and (path / "config.json").is_file() and _is_ours(path, OF_BASE):
        return _made(path, f"base model{', unfinished' if path.name.startswith(UNFINISHED) else ''}", data="scenes")
    return None


def _embeddings(path: Path) -> Entry | None:
    meta = _json(path / "meta.json")
    kind = next((name for name in ("vision", "text") if f"{name}_config" in meta), None)
    if kind is None or "weights" not in meta or not _is_ours(path, OF_ENCODER):
        return None
    shards = path.glob("shard-*.safetensors")
    model = str(meta.get("model") or "") or f"weights {meta['weights'][:SHORT_ID]}"
    data = ", ".join(map(str, meta.get("data", [])))
    contents = "image embeddings" if kind == "vision" else "text embeddings"
    return _made(path, contents, model, data, sum(map(_rows, shards)))


def _rows(shard: Path) -> int:
    """Return the number of keys in a shard from its header; 0 if it is damaged, which a run that reads it notices."""
    # The format: eight bytes with the length of the header, little-endian, and the header in JSON.
    with suppress(OSError, ValueError, KeyError, IndexError, TypeError), shard.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length < 100_000:
            return int(json.loads(file.read(length))["keys"]["shape"][0])
    return 0


def _negations(path: Path) -> Entry | None:
    settings = _json(path / "settings.json")
    if settings.get("written_by") != "conclip negate" or not _is_ours(path, OF_NEGATIONS):
        return None
    finished = (path / "README.md").is_file()
    return _made(path, f"negated captions{'' if finished else ', unfinished'}", count=settings.get("captions"))


def _search(path: Path) -> Entry | None:
    index = _json(path / "index.json")
    if "images_folder" not in index or not _is_ours(path, OF_SEARCH):
        return None
    return _made(path, "search index", index["name"], index["images_folder"], len(index["files"]))


def _made(
    path: Path,
    contents: str,
    model: str = "",
    data: str = "",
    count: int | None = None,
    files: list[Path] | None = None,
) -> Entry:
    files = [own for own in path.rglob("*") if own.is_file()] if files is None else files
    status = [own.stat() for own in files]
    times = [own.st_mtime for own in status] or [path.stat().st_mtime]
    return Entry(path, contents, model, data, count, sum(own.st_size for own in status), max(times))


def _files(folder: Path, pattern: re.Pattern) -> list[Path]:
    return [path for path in folder.iterdir() if pattern.fullmatch(path.name) and not path.is_symlink()]


def _is_ours(folder: Path, pattern: re.Pattern) -> bool:
    return len(_files(folder, pattern)) == len(list(folder.iterdir()))


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def delete(entry: Entry) -> None:
    """
    Delete an entry. A deletion that is stopped leaves nothing that a run would read: a folder is renamed first.

    Raises:
        InUse: a process reads or writes it.
        WriteError: the cache cannot be written to.
    """
    with reporting_write_errors(entry.path), _unused(entry) as unused:
        if not unused:
            raise InUse(f"{entry.short_id} ({entry.contents}) is in use by a running process and was kept.")
        if entry.name in ("texts", "indexes"):
            # Each file is whole for itself, and a run reads its file in one go.
            for path in _files(entry.path, OF_FILES):
                path.unlink(missing_ok=True)
            return
        aside = entry.path
        if not entry.name.startswith(DELETED):
            aside = entry.path.rename(entry.path.with_name(f"{DELETED}{uuid4().hex}"))
        shutil.rmtree(aside)


@contextmanager
def _unused(entry: Entry) -> Iterator[bool]:
    """Give whether no process uses the entry; until the block ends, none begins to."""
    if entry.name in ("texts", "indexes"):
        yield True
        return
    with ExitStack() as locks:
        is_made_by_one = entry.path.parent.name in ("negations", "searches") or BASE.fullmatch(entry.name)
        finished = entry.path.with_name(entry.name.removeprefix(UNFINISHED))
        free = not is_made_by_one or locks.enter_context(if_free(finished))
        yield free and locks.enter_context(without_readers(entry.path))
