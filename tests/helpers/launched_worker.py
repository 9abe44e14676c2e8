"""
A process of `accelerate launch … launched_worker.py FOLDER`: the runs in FOLDER/runs.json; a helper, not a test.

accelerate starts DeepSpeed on a machine without GPUs only if it takes the CPU for one, as it is made to here.
"""

import json
import os
import sys
from pathlib import Path

from accelerate.state import PartialState


def main(folder: Path) -> None:
    if len(sys.argv) > 2:
        choose = PartialState._prepare_backend
        PartialState._prepare_backend = lambda self, cpu=False, *rest: choose(self, True, *rest)
    # The runs that follow meet in the same process group.
    PartialState.destroy_process_group = lambda self, group=None: None
    import torch
    from runs import run

    codes = [run(argv) for argv in json.loads((folder / "runs.json").read_text("utf-8"))]
    done = {"codes": codes, "world_size": torch.distributed.get_world_size()}
    (folder / f"done-{os.environ['RANK']}.json").write_text(json.dumps(done), "utf-8")
    torch.distributed.barrier()
    sys.stdout.flush()
    # gloo's threads abort about 3 in 100 orderly exits ("terminate called without an active exception").
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
