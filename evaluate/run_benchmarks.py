"""
Score CLIP models, and models of other families, on compositional benchmarks: one command, one table.

    python evaluate/run_benchmarks.py --model_name_or_path outputs/conclip-scenes
    python evaluate/run_benchmarks.py --model_name_or_path openai/clip-vit-base-patch32 me/conclip \\
        --benchmarks sugarcrepe negbench --data_dir data

This is `conclip evaluate` as a script. On several GPUs: `accelerate launch --multi_gpu evaluate/run_benchmarks.py`.
Embeddings are cached on disk, so a run that was stopped continues from them.
"""

import sys

try:
    from conclip.evaluation.run import main
# Ctrl-C during the imports.
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())
