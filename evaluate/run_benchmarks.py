"""
Scores CLIP models, and those people compare them with, on the compositional benchmarks: one command, one table.

    python evaluate/run_benchmarks.py --model outputs/conclip-scenes
    python evaluate/run_benchmarks.py --model openai/clip-vit-base-patch32 me/conclip \\
        --benchmarks sugarcrepe negbench --data_dir data

Several processes: `accelerate launch --multi_gpu evaluate/run_benchmarks.py …`. Embeddings are kept on disk: a run
that was stopped goes on from those it has.
"""

import sys

try:
    from conclip.evaluation.run import main
# Which takes seconds.
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())
