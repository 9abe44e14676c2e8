"""Bad inputs of the commands: a working directory of good files, what breaks them, and what is said: not a test."""

import io
import json
import shutil
import signal
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate_state import reset_accelerate
from benchmark_files import SUGARCREPE
from ccneg_files import annotations, write_ccneg, write_coco
from payload import Payload, payload
from safetensors.torch import load_file, save_file
from small_benchmarks import CATEGORIES, write_images
from tiny import save_tiny, tiny_model, tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from conclip.__main__ import main
from conclip.models.openai_layout import from_transformers
from conclip.negation.llm.prompting import PROMPTS

Break = Callable[[Path], object]

# Options of each command with which the good files are accepted; those of a case follow and override them.
OPTIONS = {
    "train": "--model_name_or_path clip --dataset_name rows.jsonl --output_dir out --embedding_cache_dir cache "
    "--loss negclip --eval_split none --max_steps 1 --per_device_train_batch_size 4 --warmup_steps 0 --report_to none",
    "evaluate": "--model_name_or_path clip --benchmarks sugarcrepe --data_dir data --output_dir out "
    "--embedding_cache_dir cache",
    "reproduce": "--tables sugarcrepe --data_dir data --output_dir out --clip_b32 clip --clip_l14 clip",
    "card": "--model_card README.md --results_file benchmarks.json",
    "negate": "--dataset_name rows.jsonl --output_dir out --num_proc 1",
    "shortcut": "--negation_dir negations",
    "distractors": "--queries queries.npz --pool pool.npy --output_file out.parquet",
    "search": "images dog --model_name_or_path clip --embedding_cache_dir cache",
    "embed": "--model_name_or_path clip --image_dir images --output_file out.npz --embedding_cache_dir cache",
    "convert": "--model_name_or_path weights.pt --output_dir out",
    "export": "--model_name_or_path clip --output_dir out",
    "ccneg": "--data_dir CC-Neg --coco_dir coco --output_dir out --num_proc 1",
    "push": "--dry_run out",
    "fetch": "--data_dir data",
    "cache": "--cache_dir cache",
}


@dataclass(frozen=True)
class BadInput:
    """
    Args:
        command: a command of `conclip`.
        wrong: what is wrong, for the page.
        options: options that follow `OPTIONS` of the command.
        breaks: changes the good files in a folder; `None` if the options alone are wrong.
        says: what follows "Error: "; "…" stands for any text.
    """

    command: str
    wrong: str
    options: str
    breaks: Break | None
    says: str

    @property
    def argv(self) -> list[str]:
        return [self.command, *OPTIONS[self.command].split(), *self.options.split()]


def run(argv: list[str]) -> int:
    """Run a command as if in a new process: accelerate keeps its state, and commands their signal handlers."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    reset_accelerate()
    try:
        return main(argv)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        reset_accelerate()


# The good files

CAPTIONS = [f"A {who} with a red {what}." for who in ("man", "woman", "dog", "cat") for what in ("ball", "hat")]
NAMES = [f"{number}.png" for number in range(len(CAPTIONS))]


def rows() -> list[dict]:
    """Rows to train on, or to negate."""
    return [
        {"image": f"images/{name}", "caption": caption, "negated_captions": [caption.replace("with", "without")]}
        for name, caption in zip(NAMES, CAPTIONS, strict=True)
    ]


def embeddings(count: int = len(NAMES), width: int = 4) -> np.ndarray:
    """Unit rows, float32, (count, width)."""
    found = np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def write_good(folder: Path) -> None:
    """Write a CLIP, weights, images, rows, embeddings, texts, SugarCrepe, CC-Neg, COCO and a model card."""
    model = save_tiny(folder / "clip")
    torch.save(model.state_dict(), folder / "weights.pt")
    write_images(folder / "images", NAMES, (40, 40))
    write_lines("rows.jsonl", rows())(folder)
    np.savez(folder / "queries.npz", embeds=embeddings(), names=NAMES)
    np.save(folder / "pool.npy", embeddings(20))
    (folder / "phrases.json").write_text(json.dumps([["hat"]] * len(NAMES)))
    (folder / "texts.json").write_text(json.dumps(["a dog"] * 20))
    (folder / "data/sugarcrepe").mkdir(parents=True)
    for category in CATEGORIES:
        (folder / f"data/sugarcrepe/{category}.json").write_text(json.dumps(SUGARCREPE["add_att"]))
    write_images(folder / "data/coco/val2017", ["000000085329.jpg", "000000000139.jpg"])
    write_ccneg(folder / "CC-Neg", 4)
    write_coco(folder / "coco")
    (folder / "README.md").write_text("# A model\n")


# What breaks them

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
EPS = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n%%EOF\n"
DEEP = "[" * 100_000


def all_of(*breaks: Break) -> Break:
    return lambda folder: [each(folder) for each in breaks]


def content(name: str, content: str | bytes) -> Break:
    """Write a file."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def write_lines(name: str, records: Iterable[dict]) -> Break:
    return content(name, "".join(f"{json.dumps(record)}\n" for record in records))


def changed_row(**changes) -> Break:
    """Change row 5."""
    return write_lines(
        "rows.jsonl", [{**row, **(changes if number == 5 else {})} for number, row in enumerate(rows())]
    )


def changed_json(name: str, *keys: str, **changes) -> Break:
    """Change the object that is found below the keys."""

    def change(folder: Path) -> None:
        whole = found = json.loads((folder / name).read_text())
        for key in keys:
            found = found[key]
        found.update(changes)
        (folder / name).write_text(json.dumps(whole))

    return change


def cut(name: str, size: int) -> Break:
    """Keep the first bytes of a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def removed(*names: str) -> Break:
    def remove(folder: Path) -> None:
        for name in names:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()

    return remove


def folder_named(name: str) -> Break:
    """Make a folder, in place of a file if there is one."""

    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return make


def link(name: str, target: str) -> Break:
    return all_of(removed(name), lambda folder: (folder / name).symlink_to(target))


def pickled(name: str, how: str = "pickle", in_place_of: str | None = None) -> Break:
    """Write a pickle that makes the file `ran` when it is loaded, see `payload`."""

    def write(folder: Path) -> None:
        if in_place_of:
            (folder / in_place_of).unlink()
        content(name, payload(folder / "ran", how))(folder)

    return write


def array(name: str, values: np.ndarray) -> Break:
    return lambda folder: np.save(folder / name, values)


def arrays(name: str, **named: np.ndarray) -> Break:
    return lambda folder: np.savez(folder / name, **named)


def with_value(value: float, at: int | tuple[int, int], width: int = 4) -> np.ndarray:
    found = embeddings(width=width)
    found[at] = value
    return found


def bomb(side: int = 60_000) -> bytes:
    """A PNG whose header announces side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def table(name: str, **columns: list) -> Break:
    """Write a Parquet file."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / name)

    return write


def changed_pairs(key: str = "", path: str | None = None, **changes) -> Break:
    """Change row 2 of CC-Neg: its path, or the dict `key` of its annotation."""

    def change(folder: Path) -> None:
        content = annotations(4)
        if path:
            content["image_paths"][2] = path
        if key:
            content["annotations"][2][key].update(changes)
        torch.save(content, folder / "CC-Neg/ccneg_preprocessed.pt")

    return change


def saved(name: str, what) -> Break:
    return lambda folder: torch.save(what, folder / name)


def zipped(name: str, members: dict[str, bytes]) -> Break:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / name, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)

    return write


def tarred(name: str, *endings: str) -> Break:
    """Write a sample of a WebDataset: a pickle for each ending, and a caption."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        members = {
            f"0.{ending}": payload(folder / "ran", "torch" if ending == "pth" else "pickle") for ending in endings
        }
        with tarfile.open(folder / name, "w") as archive:
            for member, data in {**members, "0.txt": b"a dog"}.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))

    return write


def torchscript(name: str) -> Break:
    """Write an archive in the layout of TorchScript whose data.pkl is a pickle of another kind."""
    return lambda folder: zipped(
        name, {"model/constants.pkl": b"", "model/data.pkl": payload(folder / "ran", "pickle")}
    )(folder)


def objects(name: str, array: str | None = None) -> Break:
    """Write an array of objects that are pickled: .npy, or as the named array of .npz."""

    def write(folder: Path) -> None:
        found = np.array([Payload(folder / "ran")] * len(NAMES))
        if array is None:
            np.save(folder / name, found)
        else:
            np.savez(folder / name, **{"embeds": embeddings(), array: found})

    return write


def npy_header(description: str) -> bytes:
    """The header of a .npy file, which is a Python literal, with an expression in it."""
    header = f"{{'descr': {description}, 'fortran_order': False, 'shape': (8, 16), }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


# Python that makes the file `ran` in the working directory.
RUNS = "open('ran', 'w')\nclass Sent: pass\n"


def own_code(name: str, *files: str) -> Break:
    """Write sent.py into a folder of a model and name it in all of its configs, or in some files."""

    def write(folder: Path) -> None:
        content(f"{name}/sent.py", RUNS)(folder)
        kinds = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoProcessor", "AutoImageProcessor")
        classes = {**dict.fromkeys(kinds, "sent.Sent"), "AutoTokenizer": ["sent.Sent", "sent.Sent"]}
        for path in (folder / name).glob("*config.json"):
            if files and path.name not in files:
                continue
            config = json.loads(path.read_text())
            named = config.keys() & {"processor_class", "tokenizer_class", "image_processor_type"}
            config |= {**dict.fromkeys(named, "Sent"), "auto_map": classes}
            if path.name == "config.json":
                config["model_type"] = "sent"
            path.write_text(json.dumps(config))

    return write


def ghostscript(folder: Path) -> None:
    """Put a program `gs` on the path, which makes the file `ran`; tests put `bin` there."""
    content("bin/gs", f"#!/bin/sh\ntouch {folder / 'ran'}\n")(folder)
    (folder / "bin/gs").chmod(0o755)


def adapters(**changes) -> Break:
    """Write LoRA adapters of the CLIP, without their weights."""
    config = {"peft_type": "LORA", "base_model_name_or_path": "clip", "target_modules": ["q_proj"], "r": 2}
    return content("adapters/adapter_config.json", json.dumps(config | changes))


LANGUAGE_MODEL = "--generator language_model --model_name_or_path"
SERVER = f"{LANGUAGE_MODEL} me/chat --max_retries 0"


def chat_model(
    template: str | None = "{% for message in messages %}{{ message.content }}{% endfor %}",
    left_out: str | None = None,
) -> Break:
    """Write a small language model, without one of its weights."""

    def write(folder: Path) -> None:
        tokenizer = tiny_tokenizer()
        if template is not None:
            tokenizer.chat_template = template
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder / "chat")
        tokenizer.save_pretrained(folder / "chat")
        if left_out:
            path = folder / "chat/model.safetensors"
            weights = load_file(path)
            del weights[left_out]
            save_file(weights, path, {"format": "pt"})

    return write


def prompts(caption: str) -> Break:
    """Copy the prompts and put other text in place of {caption}."""

    def write(folder: Path) -> None:
        for path in PROMPTS.glob("*.json"):
            content(f"prompts/{path.name}", path.read_text().replace("{caption}", caption))(folder)

    return write


ROW = {"benchmark": "x", "title": "X", "split": "test", "metric": "accuracy", "part": "", "headline": True}
ROW |= {"count": 1, "chance": 0.5, "skipped": 0, "values": {"mine": 1.0}, "ties": {}}
REPORT = json.dumps(
    {
        **{"rows": [ROW], "models": {"mine": {}}, "versions": {}, "seed": 0, "arguments": {}, "command": ""},
        "seconds": 1.0,
    }
)


def begun_negations(folder: Path) -> None:
    """Begin to negate; the run ends at an image that does not exist."""
    changed_row(image="images/none.png")(folder)
    assert run(BadInput("negate", "", "--image_column image", None, "").argv) == 1


def openai_weights(folder: Path) -> None:
    """Write weights.pt in OpenAI's layout."""
    model = tiny_model()
    torch.save(from_transformers(model.state_dict(), model.config), folder / "weights.pt")


def checkpoint(folder: Path) -> None:
    """Train two steps and keep the first checkpoint."""
    options = "--save_steps 1 --max_steps 2 --output_dir trained"
    assert run(BadInput("train", "", options, None, "").argv) == 0
    shutil.move(folder / "trained/checkpoint-1", folder / "checkpoint")
