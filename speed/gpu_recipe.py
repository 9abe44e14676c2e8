"""
Measure training and embedding on one GPU, in under six minutes, with random weights and without the network:

    python -m speed.gpu_recipe --output_file gpu.json

The parts are in `PARTS`, and `MEANING` says what each number is. The file is written after each part, so a run that is
killed keeps what it has measured. A part that fails leaves its error there, the others still run, and the exit code is
1. `--small` runs everything once with tiny encoders, on a CPU too.
"""

import argparse
import os
import resource
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from unittest.mock import patch

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.nn.parallel import DistributedDataParallel

from conclip.embedding.tokens import TextTokens
from conclip.training.checkpoints import TrainingProgress
from conclip.training.loop import run_training, train_step
from conclip.training.training_state import TrainingState
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import _GatherRows, _MeanOverRanks
from speed.captions import sampled_pairs
from speed.models import SIZES, as_conclip, make_model
from speed.paired import machine, seconds_of, write_json
from speed.recipe import ReadyRows, prepare, recipe

# Mean difference, relative to the loss.
LOSS_TOLERANCE = 0.02
TINY = ((32, 64, 2), (32, 64, 2, 2, 112), 16)
# Loss comparison: so many different batches, used again in each epoch so that the loss falls, and the learning rate.
BATCHES, LEARNING_RATE = 10, 1e-4
MEANING = {
    "part_s": "seconds of this part, with all that is not timed otherwise",
    "matrix_flops": "FLOP/s of a bare bf16 product of two square matrices, the best of ten",
    "images_a_second": "preprocessed images on the device, embedded in bf16 in a second; the best of five batches",
    "pairs": "pairs of caption and negated caption that are trained on, over all epochs",
    "steps": "updates",
    "first_run_s": "seconds of training these pairs from cached embeddings, including the time to compile",
    "seconds": "seconds of training the same pairs again, now that all is compiled",
    "compile_s": "difference of the two: the time to compile (B/16 has B/32's text encoder and finds it compiled)",
    "pairs_a_second": "pairs that are trained on in a second, without the time to compile",
    "full_run_s": "seconds of the whole recipe at this rate; extrapolated if fewer pairs are trained on",
    "nodes_a_step": "tokens that the text encoder computes in a step, padding included; mean of 20 batches",
    "flops": "FLOP/s of the text encoder in training: FLOP by formula, of 20 batches, / seconds without compiling",
    "share_of_matrix_rate": "flops / matrix_flops",
    "peak_bytes": "most memory that tensors took on the GPU; on a CPU, that the process took so far",
    "compared_steps": "steps that both runs trained, from the same weights on the same batches",
    "first_loss": "loss of the first step in float32, without compiling",
    "last_loss": "loss of the last step in float32, without compiling",
    "loss_difference_first": "difference of the first step's losses, compiled bf16 and plain float32: equal weights",
    "loss_difference_max": "largest difference of a step's losses, compiled bf16 and plain float32",
    "loss_difference_mean": "mean difference of the steps' losses, compiled bf16 and plain float32",
    "init_s": "seconds to start one process of torch.distributed, up to its first collective",
    "all_reduce_s": "seconds to all-reduce `all_reduce_bytes` in one process, the best of five",
    "all_reduce_bytes": "bytes that are all-reduced",
    "ddp_loss_difference_max": "largest difference of a step's losses, with DistributedDataParallel and without",
}


@dataclass
class Setup:
    """
    What is measured.

    Args:
        rows, batch_size, epochs: the whole recipe of the paper.
        steps: updates of the parts that do not train the whole recipe.
        compared_steps: updates of the parts that compare losses.
        image_batch: images that are embedded at a time.
        matrix_side: side of the square matrices.
        reduced_floats: float32 numbers that are all-reduced.
        workers: processes that pack texts.
        sizes: the three models as in `speed.models.SIZES`.
        compiled: whether the text encoder is compiled.
    """

    rows: int = 188_246
    batch_size: int = 200
    epochs: int = 5
    steps: int = 500
    compared_steps: int = 50
    image_batch: int = 512
    matrix_side: int = 8192
    reduced_floats: int = 2**26
    workers: int = field(default_factory=lambda: min(8, max(1, (os.cpu_count() or 1) // 2)))
    sizes: dict = field(default_factory=lambda: dict(SIZES))
    compiled: bool = True


def small_setup() -> Setup:
    """Return a setup for trying the script: on a CPU, compiling even this takes minutes."""
    small = {"rows": 40, "batch_size": 10, "epochs": 2, "steps": 3, "compared_steps": 3, "image_batch": 4}
    small |= {"matrix_side": 256, "reduced_floats": 2**10, "workers": 0, "compiled": torch.cuda.is_available()}
    return Setup(**small, sizes=dict.fromkeys(SIZES, TINY))


@dataclass
class Bench:
    """The device, the setup, and what several parts need: the tokens, and the results so far by part."""

    device: torch.device
    setup: Setup
    tokens: TextTokens | None = None
    parts: dict = field(default_factory=dict)

    def model(self, size: str) -> ConCLIPModel:
        return as_conclip(make_model(self.setup.sizes[size])).to(self.device)

    def data(self, model: ConCLIPModel, rows: int) -> ReadyRows:
        """Return the first pairs, with random embeddings of images and distractors."""
        if self.tokens is None:
            self.tokens = sampled_pairs(self.setup.rows)
        chosen = self.tokens if rows == self.setup.rows else sampled_pairs(rows)
        embeds = torch.randn(2, rows, model.projection_dim, generator=torch.Generator().manual_seed(0))
        return ReadyRows(chosen, *embeds)


def forget_accelerator() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)


def new_accelerator(bench: Bench, mixed_precision: str = "bf16") -> Accelerator:
    """Return an accelerator that shares nothing with the one before it, such as its precision."""
    forget_accelerator()
    return Accelerator(mixed_precision=mixed_precision, cpu=bench.device.type == "cpu")


def peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def matrix_rate(bench: Bench) -> dict:
    side = bench.setup.matrix_side
    a, b = (torch.randn(side, side, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    a @ b
    seconds = min(seconds_of(lambda: a @ b, bench.device.type) for _ in range(10))
    return {"matrix_flops": 2 * side**3 / seconds}


def embedding_rate(bench: Bench, size: str) -> dict:
    model, accelerator = bench.model(size).eval(), new_accelerator(bench)
    side = model.config.vision_config.image_size
    pixels = torch.randn(bench.setup.image_batch, 3, side, side, device=bench.device)

    def embed() -> None:
        with accelerator.autocast():
            model.embed_images(pixels)

    embed()
    seconds = min(seconds_of(embed, bench.device.type) for _ in range(5))
    return {"images_a_second": len(pixels) / seconds, "peak_bytes": peak_bytes(bench.device)}


def step_flops(model: ConCLIPModel, packed_texts: list[dict[str, torch.Tensor]]) -> int:
    """
    Return the FLOP of the text encoder in a training step: its matrix products, two FLOP for a multiplication and an
    addition. The backward pass has two products for each of the forward pass.

    Args:
        packed_texts: pieces of `pack_texts`.
    """
    config = model.config.text_config
    width, mlp, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    total = 0
    for piece in packed_texts:
        nodes, texts = len(piece["input_ids"]), len(piece["ends"])
        blocks, ancestors = piece["ancestors"].shape
        after_attention = width**2 + 2 * width * mlp
        # Of the last layer, only the pooled nodes go through what comes after the attention.
        linear = nodes * (layers * 3 * width**2 + (layers - 1) * after_attention)
        linear += texts * (after_attention + width * model.projection_dim)
        attention = layers * 2 * nodes * (ancestors + nodes // blocks) * width
        total += 3 * 2 * (linear + attention)
    return total


def training_rate(bench: Bench, size: str, whole: bool = False) -> dict:
    """Train twice: the first run compiles."""
    setup, model, accelerator = bench.setup, bench.model(size), new_accelerator(bench)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"num_train_epochs": setup.epochs} if whole else {"max_steps": setup.steps}
        settings |= {"save_steps": 0, "output_dir": folder, "dataloader_num_workers": setup.workers}
        args = recipe(setup.batch_size, torch_compile=setup.compiled, **settings)
        state = prepare(model, bench.data(model, setup.rows), args, accelerator)
        batches = [batch["packed_texts"] for batch, _ in zip(state.loader, range(20), strict=False)]
        flops = sum(step_flops(model, texts) for texts in batches) / len(batches)
        nodes = sum(len(piece["input_ids"]) for texts in batches for piece in texts) / len(batches)
        runs = []
        for _ in range(2):
            state.progress = TrainingProgress()
            runs.append(seconds_of(lambda: run_training(state), bench.device.type))
    first, seconds = runs
    pairs, steps = state.total_steps * setup.batch_size, state.total_steps
    found = {"pairs": pairs, "steps": steps, "first_run_s": first, "seconds": seconds, "compile_s": first - seconds}
    found |= {"pairs_a_second": pairs / seconds, "peak_bytes": peak_bytes(bench.device), "nodes_a_step": nodes}
    found["full_run_s"] = setup.epochs * state.steps_per_epoch * seconds / steps
    found["flops"] = flops * steps / seconds
    # Without it, the part with the matrix rate has failed, and says so.
    if rate := bench.parts.get("matrix rate", {}).get("matrix_flops"):
        found["share_of_matrix_rate"] = found["flops"] / rate
    return found


def losses_of(
    bench: Bench, size: str, accelerator: Accelerator, compiled: bool, wrapped: bool = False
) -> torch.Tensor:
    """
    Train from the same weights on the same batches.

    Args:
        wrapped: the model must be wrapped for several processes.

    Returns:
        The loss of each step, float32, on the CPU.
    """
    setup, model = bench.setup, bench.model(size)
    rows = min(setup.rows, BATCHES * setup.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"learning_rate": LEARNING_RATE, "save_steps": 0, "output_dir": folder, "dataloader_num_workers": 0}
        args = recipe(setup.batch_size, torch_compile=compiled, max_steps=setup.compared_steps, **settings)
        state = prepare(model, bench.data(model, rows), args, accelerator)
        if isinstance(state.model, DistributedDataParallel) != wrapped:
            raise RuntimeError(f"The model is a {type(state.model).__name__}.")
        return torch.stack(train(state)).float().cpu()


def train(state: TrainingState) -> list[torch.Tensor]:
    state.model.train()
    losses = []
    while len(losses) < state.total_steps:
        state.loader.set_epoch(state.progress.epoch)
        for batch in state.loader:
            losses.append(train_step(state, batch)["loss"])
            state.progress.step += 1
            if len(losses) == state.total_steps:
                break
        state.progress.epoch += 1
    return losses


def loss_agreement(bench: Bench, size: str) -> dict:
    """
    Raises:
        ValueError: the losses differ by more than the tolerance; the message has the numbers.
    """
    ours = losses_of(bench, size, new_accelerator(bench), compiled=bench.setup.compiled)
    plain = losses_of(bench, size, new_accelerator(bench, "no"), compiled=False)
    difference = (ours - plain).abs()
    found = {
        "compared_steps": len(plain),
        "first_loss": plain[0].item(),
        "last_loss": plain[-1].item(),
        "loss_difference_first": difference[0].item(),
        "loss_difference_max": difference.max().item(),
        "loss_difference_mean": difference.mean().item(),
    }
    # Not "greater": NaN must not pass.
    if not found["loss_difference_mean"] <= LOSS_TOLERANCE * plain.mean().item():
        raise ValueError(f"The losses of compiled bf16 and plain float32 differ: {found}")
    return found


def collectives(bench: Bench) -> dict:
    """
    Start torch.distributed as the environment says, and time a collective.

    Raises:
        ValueError: a collective or its gradient is wrong.
    """
    device = bench.device
    values = torch.ones(bench.setup.reduced_floats, device=device)

    def reduce() -> float:
        return seconds_of(lambda: torch.distributed.all_reduce(values), device.type)

    started = time.perf_counter()
    new_accelerator(bench)
    reduce()
    found = {"init_s": time.perf_counter() - started, "all_reduce_bytes": values.nbytes}
    found["all_reduce_s"] = min(reduce() for _ in range(5))
    # A single process leaves these out in training.
    rows = torch.randn(8, 2, 4, device=device, requires_grad=True)
    gathered = _GatherRows.apply(rows)
    (gradient,) = torch.autograd.grad(_MeanOverRanks.apply(gathered.pow(2).sum()), rows)
    if not (values.eq(1).all() and gathered.equal(rows) and gradient.allclose(2 * rows)):
        raise ValueError("A collective of one process changes values or gradients.")
    return found


def one_process(bench: Bench, size: str) -> dict:
    """
    Start torch.distributed (NCCL on a GPU, gloo on a CPU) with one process, and train with DistributedDataParallel.

    Raises:
        ValueError: a collective, its gradient, or the loss of a step is wrong.
    """
    alone = losses_of(bench, size, new_accelerator(bench), compiled=bench.setup.compiled)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with patch.dict(os.environ, {name: str(value) for name, value in variables.items()}):
        try:
            found = collectives(bench)
            together = losses_of(bench, size, Accelerator(), compiled=bench.setup.compiled, wrapped=True)
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            forget_accelerator()
    found["ddp_loss_difference_max"] = (together - alone).abs().max().item()
    if not found["ddp_loss_difference_max"] <= LOSS_TOLERANCE * alone.mean().item():
        raise ValueError(f"Training with DistributedDataParallel differs from training without it: {found}")
    return found | {"peak_bytes": peak_bytes(bench.device)}


# In this order: the first training part compiles the text encoder of B/32; the process group may hang where it fails.
PARTS: dict[str, Callable[[Bench], dict]] = {
    "matrix rate": matrix_rate,
    "train vit-base-patch32": lambda bench: training_rate(bench, "vit-base-patch32", whole=True),
    "train vit-base-patch16": lambda bench: training_rate(bench, "vit-base-patch16"),
    "train vit-large-patch14": lambda bench: training_rate(bench, "vit-large-patch14"),
    "embed vit-base-patch32": lambda bench: embedding_rate(bench, "vit-base-patch32"),
    "embed vit-base-patch16": lambda bench: embedding_rate(bench, "vit-base-patch16"),
    "embed vit-large-patch14": lambda bench: embedding_rate(bench, "vit-large-patch14"),
    "bf16 against float32": lambda bench: loss_agreement(bench, "vit-base-patch32"),
    "one process": lambda bench: one_process(bench, "vit-base-patch32"),
}


def measure(part: Callable[[Bench], dict], bench: Bench) -> dict:
    """Return the numbers of a part, or {"error": what went wrong}."""
    started = time.perf_counter()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        found = part(bench)
    # Whatever it is (memory, compiler, NCCL), the other parts are measured all the same.
    except Exception as error:
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {error}"}
    return found | {"part_s": time.perf_counter() - started}


def table(parts: dict) -> str:
    """Return a line for each number: part, name, value and what it is."""
    lines = []
    for part, found in parts.items():
        for name, value in found.items():
            shown = value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
            lines.append(f"{part:24} {name:24} {shown:>20}  {MEANING.get(name, '')}".rstrip())
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_file", default="outputs/speed/gpu_recipe.json")
    parser.add_argument("--small", action="store_true", help="try everything once, with tiny encoders")
    options = parser.parse_args(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not options.small:
        parser.error("no GPU was found, and on a CPU this takes hours: add --small to try the script")
    setup = small_setup() if options.small else Setup()
    bench = Bench(device, setup)
    result = {"machine": machine(device.type), "setup": asdict(setup), "meaning": MEANING, "parts": bench.parts}
    # In the usual cache, what an earlier run compiled would be found again, and compiling would seem to be fast.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder),
    ):
        for name, part in PARTS.items():
            bench.parts[name] = measure(part, bench)
            write_json(result, options.output_file)
    print(table(bench.parts))
    return int(any("error" in found for found in bench.parts.values()))


if __name__ == "__main__":
    raise SystemExit(main())
