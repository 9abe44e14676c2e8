"""
The table of docs/clients.md: runs each snippet of the page in an environment of its own. Not a test.

    python tests/helpers/clients_page.py --tokenizer FOLDER

needs the package index, the npm registry, node, the extra `onnx`, and vocab.json and merges.txt of CLIP's tokenizer.
What was found is in docs/results/clients.json. `--only NAME …` repeats some clients.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE, FOUND = ROOT / "docs" / "clients.md", ROOT / "docs" / "results" / "clients.json"
START, END = "<!-- table: written by tests/helpers/clients_page.py -->\n", "<!-- end of the table -->"
SECTION = re.compile(r"^### (.*?)\n.*?^```(python|js)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LARGEST_DIFFERENCE = 1e-4
TEXTS = ["a dog but no cat", "a cat but no dog"]
# openai-clip imports pkg_resources, which later versions of setuptools do not have.
TORCHVISION = ["torch", "torchvision", "open_clip_torch", "openai-clip", "setuptools<80"]
OLD_TRANSFORMERS = ["transformers==4.46.3", "numpy", "pillow"]
TRANSFORMERS = ["transformers", "pillow"]


@dataclass(frozen=True)
class Client:
    """
    A row of the table.

    Args:
        section: heading of the snippet on the page.
        packages: what is installed, as pip or npm name it; the versions of those that `shown` names are in the table.
        result: variable of the snippet that is compared, with the entry of that name in `expected`.
        tried: what the snippet does.
        before: code that makes what the snippet needs beside a model.
        own_torch: whether torch comes from the index, as torchvision there needs it.
    """

    name: str
    section: str
    packages: list[str]
    shown: list[str]
    result: str
    expected: str
    tried: str
    before: str = ""
    own_torch: bool = False


STABLE_DIFFUSION = """
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer
torch.manual_seed(0)
unet = UNet2DConditionModel(
    block_out_channels=(32, 64), layers_per_block=1, sample_size=8, cross_attention_dim=64, attention_head_dim=8,
    norm_num_groups=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
)
vae = AutoencoderKL(block_out_channels=(32,), norm_num_groups=8, latent_channels=4)
StableDiffusionPipeline(
    vae=vae, unet=unet, scheduler=DDIMScheduler(), safety_checker=None, feature_extractor=None,
    requires_safety_checker=False, text_encoder=CLIPTextModel.from_pretrained("outputs/base"),
    tokenizer=CLIPTokenizer.from_pretrained("outputs/base"),
).save_pretrained("stable-diffusion")
"""
SEARCH = "text embedding as query among image embeddings of `conclip embed`"
CLIENTS = [
    Client("transformers", "transformers", TRANSFORMERS, ["transformers"], "logits", "logits", "`CLIPModel`"),
    Client(
        "transformers 4.46",
        "transformers",
        OLD_TRANSFORMERS,
        ["transformers"],
        "logits",
        "logits",
        "`CLIPModel`",
    ),
    Client(
        "transformers, ConCLIP's code",
        "transformers, ConCLIP's code",
        TRANSFORMERS,
        ["transformers"],
        "logits",
        "logits",
        "`AutoModel`, `trust_remote_code=True`",
    ),
    Client(
        "transformers 4.46, ConCLIP's code",
        "transformers, ConCLIP's code",
        OLD_TRANSFORMERS,
        ["transformers"],
        "logits",
        "logits",
        "`AutoModel`, `trust_remote_code=True`",
    ),
    Client("pipeline", "pipeline", TRANSFORMERS, ["transformers"], "scores", "scores", "zero-shot classification"),
    Client(
        "pipeline 4.46",
        "pipeline",
        OLD_TRANSFORMERS,
        ["transformers"],
        "scores",
        "scores",
        "zero-shot classification",
    ),
    Client(
        "sentence-transformers",
        "sentence-transformers",
        ["sentence-transformers", "pillow"],
        ["sentence-transformers", "transformers"],
        "similarities",
        "similarities",
        "images and texts",
    ),
    Client(
        "Trainer",
        "Trainer",
        [*TRANSFORMERS, "accelerate", "datasets"],
        ["transformers", "accelerate", "datasets"],
        "loss",
        "",
        "two steps on `ccneg` with ConCLIP's loss",
    ),
    Client(
        "peft",
        "peft",
        ["peft", "pillow"],
        ["peft", "transformers"],
        "logits",
        "logits of the adapter",
        "`PeftModel` over `CLIPModel`",
    ),
    Client(
        "AutoPeftModel",
        "AutoPeftModel",
        ["peft", "pillow"],
        ["peft", "transformers"],
        "logits",
        "logits of the adapter",
        "`AutoPeftModel`",
    ),
    Client(
        "diffusers",
        "diffusers",
        ["diffusers", "transformers", "accelerate"],
        ["diffusers", "transformers"],
        "hidden",
        "hidden",
        "as text encoder of `StableDiffusionPipeline` (random weights)",
        before=STABLE_DIFFUSION,
    ),
    Client(
        "open_clip",
        "open_clip",
        TORCHVISION,
        ["open_clip_torch", "torch"],
        "similarities",
        "similarities",
        "`--to open_clip`, `local-dir:`",
        own_torch=True,
    ),
    Client(
        "OpenAI's clip",
        "OpenAI's clip",
        TORCHVISION,
        ["openai-clip", "torch"],
        "logits",
        "logits",
        "`--to openai`, `clip.load`",
        own_torch=True,
    ),
    Client(
        "onnxruntime",
        "onnxruntime",
        ["onnxruntime", *TRANSFORMERS],
        ["onnxruntime", "transformers"],
        "logits",
        "logits",
        "`conclip export`, `onnx/model.onnx`",
    ),
    Client(
        "Transformers.js",
        "Transformers.js",
        ["@huggingface/transformers"],
        ["@huggingface/transformers", "onnxruntime-node"],
        "scores",
        "scores of small.png",
        "`conclip export`, zero-shot classification in node",
    ),
    Client(
        "faiss",
        "faiss",
        ["faiss-cpu", "transformers"],
        ["faiss-cpu", "transformers"],
        "names",
        "names",
        f"`Flat`: {SEARCH}",
    ),
    Client(
        "Qdrant",
        "Qdrant",
        ["qdrant-client", "transformers"],
        ["qdrant-client", "transformers"],
        "names",
        "names",
        f"in memory: {SEARCH}",
    ),
    Client(
        "LanceDB",
        "LanceDB",
        ["lancedb", "transformers"],
        ["lancedb", "transformers"],
        "names",
        "names",
        f"local folder: {SEARCH}",
    ),
    Client(
        "datasets",
        "datasets",
        ["datasets", "pillow"],
        ["datasets"],
        "captions",
        "captions",
        "folder of `conclip ccneg`",
    ),
    Client(
        "datasets, streaming",
        "datasets, streaming",
        ["datasets", "pillow"],
        ["datasets"],
        "captions",
        "captions",
        "folder of `conclip ccneg`",
    ),
    Client(
        "datasets 3.6",
        "datasets, streaming",
        ["datasets==3.6.0", "pillow"],
        ["datasets"],
        "captions",
        "captions",
        "folder of `conclip ccneg`, streaming",
    ),
    Client(
        "datasets 3.6, loading script",
        "datasets 3.6, loading script",
        ["datasets==3.6.0", "pillow"],
        ["datasets"],
        "captions",
        "captions",
        "files of CC-Neg's authors",
    ),
    Client("polars", "polars", ["polars"], ["polars"], "captions", "captions", "Parquet of `conclip ccneg`"),
    Client("DuckDB", "DuckDB", ["duckdb"], ["duckdb"], "captions", "captions", "Parquet of `conclip ccneg`"),
    Client("evaluate", "evaluate", ["evaluate"], ["evaluate"], "result", "result", "`evaluate.load` of a folder"),
]
RUNNER = """
import importlib.metadata, json, sys
def plain(value):
    for name in ("detach", "tolist"):
        value = getattr(value, name)() if hasattr(value, name) else value
    return value
before, code, result, packages, target = json.load(open(sys.argv[1]))
found = {"versions": {name: importlib.metadata.version(name) for name in packages}}
# Also for a snippet that fails.
json.dump(found, open(target, "w"))
if before:
    exec(before, {})
namespace = {"__name__": "__main__"}
exec(compile(code, "snippet", "exec"), namespace)
json.dump(found | {"value": plain(namespace[result])}, open(target, "w"))
"""
JS_RUNNER = """
import fs from "fs";
const version = (name) => JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`)).version;
const versions = Object.fromEntries(%s.map((name) => [name, version(name)]));
fs.writeFileSync("found.json", JSON.stringify({ versions, value: %s }));
"""


def snippets(text: str) -> dict[str, str]:
    """Return heading -> code."""
    return {heading: code for heading, _, code in SECTION.findall(text)}


def mark(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def table(found: dict) -> str:
    lines = ["| client | versions | tried | result |", "|---|---|---|---|"]
    for row in found["rows"]:
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        lines.append(f"| {row['client']} | {versions} | {row['tried']} | {outcome(row).replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def outcome(row: dict) -> str:
    if row["error"]:
        return row["error"].replace("<", "&lt;")
    if row["difference"] is None:
        return "ok"
    return "ok, equal" if row["difference"] == 0 else f"ok, differs by {row['difference']:.0e}"


def page(text: str, found: dict) -> str:
    """Return the page with the table of what was found."""
    start, end = text.index(START) + len(START), text.index(END)
    return text[:start] + "\n" + table(found) + "\n" + text[end:]


def difference(value, expected) -> float:
    """Return the largest difference of two numbers; 1 or more for other lengths, keys or texts."""
    if isinstance(expected, dict):
        if not isinstance(value, dict) or value.keys() != expected.keys():
            return float("inf")
        return max(difference(value[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        if not isinstance(value, list) or len(value) != len(expected):
            return float("inf")
        return max(map(difference, value, expected))
    if isinstance(expected, str):
        return 0.0 if value == expected else float("inf")
    return abs(value - expected)


def write_workspace(folder: Path, tokenizer: str) -> dict:
    """Write what the snippets read, and return the results that are expected of them."""
    import torch
    from ccneg_files import write_ccneg
    from datasets import load_dataset
    from peft import LoraConfig
    from PIL import Image
    from stand_ins import write_coco, write_images
    from torch.nn.functional import normalize
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTextModel, CLIPTokenizer

    from conclip.models.clip import add_lora
    from conclip.models.saving import save_model
    from modeling_conclip import ConCLIPConfig, ConCLIPModel

    torch.manual_seed(0)
    tokens = CLIPTokenizer.from_pretrained(tokenizer, model_max_length=77)
    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1}
    ids = {f"{name}_token_id": getattr(tokens, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = ConCLIPConfig(
        text_config={**sizes, **ids, "vocab_size": len(tokens), "projection_dim": 32},
        vision_config={**sizes, "image_size": 64, "patch_size": 16, "projection_dim": 32},
        projection_dim=32,
    )
    size = {"height": 64, "width": 64}
    images = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=size)
    processor = CLIPProcessor(image_processor=images, tokenizer=tokens)
    model = ConCLIPModel(config).eval()
    # Random weights of the usual size give nearly equal embeddings.
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data *= 4
        # Exact in float16, to which clip.load rounds.
        parameter.data = parameter.data.half().float()
    for name in ("base", "mine"):
        (folder / "outputs" / name).mkdir(parents=True)
        save_model(model, processor, folder / "outputs" / name)
    lora = LoraConfig(r=4, target_modules=r"text_model\.encoder\.layers\.\d+\.self_attn\.(q|k|v|out)_proj")
    adapted = add_lora(ConCLIPModel.from_pretrained(folder / "outputs" / "base"), lora)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    (folder / "outputs" / "mine-lora").mkdir()
    merged = save_model(adapted.eval(), processor, folder / "outputs" / "mine-lora", base_model="outputs/base")
    # Their names choose their colours; anagrams would have the same.
    write_images(folder / "images", [f"{letter}.png" for letter in "abcdefghijklmnopqrstuvwx"])
    # Smooth, as photographs are, and of another shape than the model's images; the small one is not resized.
    small = Image.open(folder / "images" / "a.png").resize((4, 4))
    small.resize((90, 70), Image.Resampling.BICUBIC).save(folder / "image.jpg", quality=95)
    small.resize((64, 64), Image.Resampling.BICUBIC).save(folder / "small.png")
    write_coco(folder / "coco")
    write_ccneg(folder / "CC-Neg")
    for name in ("evaluate", "dataset_scripts"):
        (folder / name).symlink_to(ROOT / name)
    commands = [["conclip", "ccneg", "--data_dir", "CC-Neg", "--coco_dir", "coco"]]
    (block,) = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    commands += [shlex.split(line) for line in block.splitlines()]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    for command in commands:
        program = [sys.executable, "-m", *command]
        subprocess.run(program, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)

    def scores(path: str, model: CLIPModel):
        inputs = processor(text=TEXTS, images=Image.open(folder / path), padding=True, return_tensors="pt")
        with torch.no_grad():
            return model(**inputs)

    plain = CLIPModel.from_pretrained(folder / "outputs" / "mine").eval()
    own, of_small = scores("image.jpg", plain), scores("small.png", plain)
    rows = []
    for path in sorted((folder / "images").iterdir()):
        rows.append((float(-scores(f"images/{path.name}", plain).logits_per_image[0, 0]), path.name))
    query = tokens([TEXTS[0]], padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        hidden = CLIPTextModel.from_pretrained(folder / "outputs" / "mine")(query["input_ids"]).last_hidden_state
    as_scores = [
        dict(zip(TEXTS, one.logits_per_image[0].softmax(-1).tolist(), strict=True)) for one in (own, of_small)
    ]
    return {
        "logits": own.logits_per_image.tolist(),
        "scores": as_scores[0],
        "scores of small.png": as_scores[1],
        "similarities": (normalize(own.image_embeds) @ normalize(own.text_embeds).T).tolist(),
        "logits of the adapter": scores("image.jpg", merged).logits_per_image.tolist(),
        "hidden": hidden.tolist(),
        "names": [name for _, name in sorted(rows)[:3]],
        "captions": load_dataset(str(folder / "ccneg"), split="train")["caption"][:3],
        "result": {"accuracy": 0.5, "correct": 1, "ties": 0, "count": 2, "chance": 0.5},
    }


def make_environment(client: Client, folder: Path, torch: Path) -> None:
    """Make the environment with the client's packages alone, and torch."""
    if client.packages[0].startswith("@"):
        folder.mkdir()
        # Its script downloads the part for GPUs.
        run(["npm", "install", "--ignore-scripts", "--no-fund", "--no-audit", *client.packages], folder)
        return
    venv.create(folder, symlinks=True)
    if not client.own_torch:
        (site_packages,) = folder.glob("lib/python*/site-packages")
        (site_packages / "torch.pth").write_text(f"{torch}\n")
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python"]
    run([*pip, "install", "--quiet", "--no-compile", *client.packages], folder)


def run(command: list, cwd: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "hf"), "TOKENIZERS_PARALLELISM": "false"}
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=540)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
        raise RuntimeError((lines or done.stderr.splitlines() or ["failed"])[-1][:200])


def try_client(client: Client, code: str, environment: Path, workspace: Path, expected: dict) -> dict:
    row = {"client": client.name, "tried": client.tried, "snippet": mark(code), "versions": {}}
    target, error = workspace / "found.json", None
    target.unlink(missing_ok=True)
    try:
        if client.packages[0].startswith("@"):
            (workspace / "node_modules").unlink(missing_ok=True)
            (workspace / "node_modules").symlink_to(environment / "node_modules")
            end = JS_RUNNER % (json.dumps(client.shown), client.result)
            # Imports come first.
            (workspace / "snippet.mjs").write_text(code + end)
            run(["node", "snippet.mjs"], workspace)
        else:
            (workspace / "run.py").write_text(RUNNER)
            given = [client.before, code, client.result, client.shown, str(target)]
            (workspace / "given.json").write_text(json.dumps(given))
            run([environment / "bin/python", "run.py", "given.json"], workspace)
    except (RuntimeError, subprocess.TimeoutExpired) as failure:
        error = str(failure)
    found = json.loads(target.read_text()) if target.exists() else {"versions": {}}
    row["versions"] = found["versions"]
    if error:
        return {**row, "difference": None, "error": error}
    by = difference(found["value"], expected[client.expected]) if client.expected else None
    is_equal = by is None or by <= LARGEST_DIFFERENCE
    return {**row, "difference": by, "error": None if is_equal else f"differs by {by:.0e}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True, help="folder with vocab.json and merges.txt of CLIP's tokenizer")
    parser.add_argument("--only", nargs="+", choices=[client.name for client in CLIENTS], help="clients to repeat")
    parser.add_argument("--work_dir", help="folder for the environments and files, which are kept and used again")
    options = parser.parse_args()
    codes = snippets(PAGE.read_text(encoding="utf-8"))
    earlier = json.loads(FOUND.read_text(encoding="utf-8"))["rows"] if FOUND.exists() else []
    rows = {row["client"]: row for row in earlier}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(options.work_dir or temporary).resolve()
        torch, workspace, references = (work / name for name in ("torch", "workspace", "expected.json"))
        if not references.exists():
            shutil.rmtree(workspace, ignore_errors=True)
            workspace.mkdir(parents=True)
            references.write_text(json.dumps(write_workspace(workspace, options.tokenizer)))
        expected = json.loads(references.read_text())
        if not torch.exists():
            run([sys.executable, "-m", "pip", "install", "--quiet", "--target", torch, "torch"], work)
        for client in CLIENTS:
            if options.only and client.name not in options.only:
                continue
            environment = work / re.sub(r"\W+", "-", "-".join(client.packages))
            if not environment.exists():
                make_environment(client, environment, torch)
            row = rows[client.name] = try_client(client, codes[client.section], environment, workspace, expected)
            print(f"{client.name}: {row['versions']} {outcome(row)}", flush=True)
            kept = [rows[one.name] for one in CLIENTS if one.name in rows]
            FOUND.write_text(json.dumps({"rows": kept}, indent=2) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page(text, json.loads(FOUND.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    main()
