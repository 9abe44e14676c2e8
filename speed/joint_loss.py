"""
Compare the paper's loss over several processes in local form, where each computes the logits of its own rows, to that
in which each computes all logits of the joint batch:

    python -m speed.joint_loss --processes 4 --batch_size 2048

Loss and gradients of both are compared first. Time and peak memory are those of a forward and backward pass over
random embeddings. Each form runs in its own processes, in turns, because the peak of a process can only be read once.
With --plain, logits are not computed a few rows at a time, as in most code.
"""

import argparse
import resource
import statistics
import sys
import tempfile
from pathlib import Path

import torch
from torch.multiprocessing import spawn

from modeling_conclip import loss_conclip
from modeling_conclip.loss_conclip import conclip_terms, gather_across_processes, l2_normalize
from speed.paired import machine, seconds_of, write_json

SCALE = 100.0


def local(*rows: torch.Tensor) -> torch.Tensor:
    return sum(conclip_terms(rows[0], rows[1], rows[4], rows[2], rows[3], across_processes=True)) / 3


def whole(*rows: torch.Tensor) -> torch.Tensor:
    (images, captions, negated, distractors), _ = gather_across_processes(*rows[:4])
    return sum(conclip_terms(images, captions, rows[4], negated, distractors)) / 3


FORMS = {"local": local, "whole": whole}


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def one_process(rank: int, form: str, folder: str, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=options.processes
    )
    if options.plain:
        loss_conclip.LOGITS_AT_A_TIME = 2**62
    generator = torch.Generator().manual_seed(rank)
    shape = options.batch_size, options.width
    rows = [l2_normalize(torch.randn(shape, generator=generator)).requires_grad_() for _ in range(4)]
    rows.append(torch.tensor(SCALE).requires_grad_())

    def step() -> None:
        for row in rows:
            row.grad = None
        found["loss"] = FORMS[form](*rows)
        found["loss"].backward()

    found, before = {}, peak_bytes()
    seconds = min(seconds_of(step, "cpu") for _ in range(2))
    result = {
        "loss": found["loss"].detach(),
        "gradients": [row.grad for row in rows[:4]],
        "seconds": seconds,
        "bytes": peak_bytes() - before,
    }
    torch.save(result, Path(folder) / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def run(form: str, options: argparse.Namespace) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        spawn(one_process, (form, folder, options), nprocs=options.processes)
        return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(options.processes)]


def largest_difference(some: list[dict], others: list[dict]) -> tuple[float, float]:
    """Return the relative differences of the loss, and of the gradient whose difference is largest."""
    loss = max(abs(a["loss"] / b["loss"] - 1).item() for a, b in zip(some, others, strict=True))
    pairs = [
        pair for a, b in zip(some, others, strict=True) for pair in zip(a["gradients"], b["gradients"], strict=True)
    ]
    return loss, max(((a - b).norm() / b.norm()).item() for a, b in pairs)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=2048, help="pairs of each process")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help="compute all rows of logits at once")
    parser.add_argument("--output_file", default="outputs/speed/joint_loss.json")
    options = parser.parse_args(argv)
    rounds = []
    for _ in range(options.rounds):
        found = {form: run(form, options) for form in FORMS}
        loss, gradient = largest_difference(found["local"], found["whole"])
        if loss > 1e-5 or gradient > 1e-4:
            sys.exit(f"The forms differ: loss by {loss:.1e}, gradients by {gradient:.1e}.")
        rounds.append(
            {
                form: {key: max(each[key] for each in ranks) for key in ("seconds", "bytes")}
                for form, ranks in found.items()
            }
            | {"loss_difference": loss, "gradient_difference": gradient}
        )
    ratios = {
        key: statistics.median(one["whole"][key] / max(one["local"][key], 1e-9) for one in rounds)
        for key in ("seconds", "bytes")
    }
    last = rounds[-1]
    print(
        f"{options.processes} processes of {options.batch_size:,} pairs: all logits on each process take "
        f"{ratios['seconds']:.2f} times as long and {ratios['bytes']:.2f} times the memory of the local form "
        f"({last['whole']['bytes'] / 2**20:,.0f} against {last['local']['bytes'] / 2**20:,.0f} MB)."
    )
    write_json({"options": vars(options), **machine("cpu"), "rounds": rounds, "ratios": ratios}, options.output_file)


if __name__ == "__main__":
    main()
