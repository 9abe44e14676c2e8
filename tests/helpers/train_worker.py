"""One process of a run of two, `torchrun … train_worker.py FOLDER`: a helper of test_two_processes.py, not a test."""

import json
import os
import sys
from pathlib import Path

import torch
from accelerate.state import PartialState
from runs import run

from conclip import runtime
from conclip.errors import UsageError
from conclip.training import pair_rows
from modeling_conclip import ConCLIPModel

RANK = int(os.environ["RANK"])
read_rows, embed = pair_rows.PairRows.__getitems__, ConCLIPModel.embed_images


def run_one(argv: list[str], fails_at: dict[str, int]) -> dict:
    """
    Args:
        fails_at: rank -> after so many rows it meets one it cannot read.
    """
    seen, embedded = [], []

    def watched_embed(model, pixels):
        embedded.append(len(pixels))
        return embed(model, pixels)

    def watched(rows, indices):
        seen.extend(indices)
        if len(seen) > fails_at.get(str(RANK), sys.maxsize):
            raise UsageError(f"Split 'train', row {indices[-1]}: cannot read image.")
        return read_rows(rows, indices)

    pair_rows.PairRows.__getitems__ = watched
    ConCLIPModel.embed_images = watched_embed
    exit_code = run(argv)
    world_size = torch.distributed.get_world_size()
    return {"exit_code": exit_code, "world_size": world_size, "rows": seen, "embedded": sum(embedded)}


def main(folder: Path) -> None:
    # The runs that follow meet in the same process group.
    PartialState.destroy_process_group = lambda self, group=None: None
    runtime.PATIENCE = 2.0
    done = [
        run_one(one["argv"], one.get("fails_at", {})) for one in json.loads((folder / "runs.json").read_text("utf-8"))
    ]
    (folder / f"done-{RANK}.json").write_text(json.dumps(done))
    torch.distributed.barrier()
    sys.stdout.flush()
    # gloo's threads abort about 3 in 100 orderly exits ("terminate called without an active exception").
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
