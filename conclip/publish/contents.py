"""The files that are uploaded, and those of the folder that are not."""

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from conclip.errors import UsageError
from conclip.public_names import without_local_paths

CARD_FILE = "README.md"
MODEL, ADAPTERS, DATASET, METRIC = "model", "adapters", "dataset", "metric"
REPO_TYPES = {MODEL: "model", ADAPTERS: "model", DATASET: "dataset", METRIC: "space"}
# In words -> patterns of paths below the folder; "*" also matches "/". The first match says why a file is left out.
LEFT_OUT = {
    "checkpoints": ("checkpoint-*", "*/checkpoint-*", "optimizer*", "scheduler*", "random_states*", "rng_state*"),
    "unfinished files": ("unfinished-*", "*.tmp", "*.incomplete"),
    "logs": ("metrics.jsonl", "*tfevents*", "*.log", "conclip/*", "runs/*", "wandb/*", "trainer_state.json"),
    "caches and embeddings": ("*__pycache__/*", "*cache/*", "*.npy", "*.npz", "*.arrow"),
    "pickles, which can hold code": ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle"),
    "weights of other libraries": ("*.h5", "*.msgpack"),
    "hidden files": (".*", "*/.*"),
}
# What a repository of each kind may hold, in the folder itself or in a folder below it that is named here.
UPLOADED = {
    MODEL: (
        *("*.safetensors", "*.json", "*.md", "*.txt", "*.jinja", "*.model", "*.py", "*.png", "*.svg", "LICENSE*"),
        *("adapter/*.safetensors", "adapter/*.json", "adapter/*.md", "onnx/*.onnx", "onnx/*.onnx_data"),
    ),
    ADAPTERS: ("*.safetensors", "*.json", "*.md", "*.txt", "*.jinja", "LICENSE*"),
    DATASET: ("*.md", "*.json", "*.jsonl", "LICENSE*"),
    METRIC: ("*.py", "*.md", "requirements.txt", "LICENSE*"),
}
NOT_OF_KIND = "files that are not part of a {}"
# Texts that may hold paths of this machine. Entries of vocabularies only look like paths.
TEXTS = ("*.md", "*.json", "*.jsonl", "*.txt")
VOCABULARIES = ("*tokenizer.json", "*vocab.json", "*merges.txt", "*added_tokens.json", "*special_tokens_map.json")


@dataclass
class Contents:
    """
    What is uploaded, and what is not.

    Args:
        kind: "model", "adapters", "dataset" or "metric".
        work: folder for changed files, to be kept until the upload is done.
        files: path in the repository -> the file, or a changed copy of it.
        left_out: why, in words -> paths below the folder.
        notes: sentences for the user.
    """

    kind: str
    work: Path
    files: dict[str, Path]
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def repo_type(self) -> str:
        """The Hub's word for the kind: "model", "dataset" or "space"."""
        return REPO_TYPES[self.kind]

    def place(self, name: str) -> Path:
        """Return where to write a changed file, which is uploaded in place of that of the folder."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.files[name] = path
        return path

    def edit(self, name: str, change: Callable[[str], str]) -> bool:
        """
        Change a text file; return whether this makes a difference.

        Raises:
            UsageError: it is not UTF-8.
        """
        path = self.files[name]
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} is not UTF-8 text: write it again or move it out of the folder.") from error
        changed = change(text)
        if changed != text:
            self.place(name).write_bytes(changed.encode("utf-8"))
        return changed != text

    def leave_out(self, name: str, why: str) -> None:
        """Do not upload a file."""
        self.files.pop(name, None)
        self.left_out.setdefault(why, []).append(name)

    def remove_local_paths(self) -> None:
        """Shorten paths of this machine in the texts to their last part."""
        changed = [
            name
            for name in sorted(self.files)
            if _matches(name, TEXTS) and not _matches(name, VOCABULARIES) and self.edit(name, without_local_paths)
        ]
        if changed:
            self.notes.append(f"Paths of this machine were shortened to their last part in {', '.join(changed)}.")


def sort_files(
    folder: Path, kind: str, work: Path, chosen: Set[str] = frozenset(), images: Set[str] = frozenset()
) -> Contents:
    """
    Divide the files of a folder into those that are uploaded and the others.

    Args:
        kind: what the folder holds.
        work: see `Contents`.
        chosen: paths below the folder that are uploaded too, whatever their names.
        images: paths below the folder that are not uploaded, since they hold images.
    """
    contents = Contents(kind, work, {})
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file():
            continue
        why = None if name in chosen else _why_left_out(name, kind, images)
        if why is None:
            contents.files[name] = path
        else:
            contents.leave_out(name, why)
    return contents


def _why_left_out(name: str, kind: str, images: Set[str]) -> str | None:
    if name in images:
        return "files with images"
    why = next((why for why, patterns in LEFT_OUT.items() if _matches(name, patterns)), None)
    if why is None and not _is_uploaded(name, kind):
        why = NOT_OF_KIND.format("set of adapters" if kind == ADAPTERS else kind)
    return why


def _is_uploaded(name: str, kind: str) -> bool:
    patterns = UPLOADED[kind]
    return any(fnmatchcase(name, pattern) and name.count("/") == pattern.count("/") for pattern in patterns)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
