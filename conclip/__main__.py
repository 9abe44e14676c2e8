"""The command line: `conclip train`, `conclip evaluate` and the others, also as `python -m conclip train`."""

import importlib
import sys
from difflib import get_close_matches

from conclip.runtime import exit_on_sigterm

# Command -> the module whose `main(argv)` runs it, and what it does.
COMMANDS = {
    "train": ("train_accelerate", "Fine-tune a CLIP model with a negation loss"),
    "evaluate": ("conclip.evaluation.run", "Score models on benchmarks of negation and composition"),
    "reproduce": ("conclip.evaluation.reproduce_command", "Print the paper's tables beside the published numbers"),
    "card": ("conclip.evaluation.card_command", "Write the results of benchmarks into a model card"),
    "negate": ("conclip.negation.pipeline.command", "Make negated captions from captions"),
    "shortcut": ("conclip.negation.pipeline.shortcut", "Measure how well words alone tell true from false negations"),
    "distractors": (
        "conclip.distractors.command",
        "Find similar images, on request those that match the negated caption",
    ),
    "search": ("conclip.search.command", "Search a folder of images by text or by image"),
    "embed": ("conclip.models.embed_command", "Embed images, to train on, to search or to find distractors"),
    "convert": ("conclip.models.convert_command", "Convert checkpoints of OpenAI, open_clip and others, and back"),
    "export": ("conclip.models.export_command", "Write both encoders as ONNX, for onnxruntime and Transformers.js"),
    "push": ("conclip.publish.command", "Upload a model, a dataset or a metric to the Hugging Face Hub"),
    "cache": ("conclip.embedding.cache_command", "List and delete cached embeddings"),
    "fetch": ("dataset_scripts.benchmarks.fetch_command", "Download the files of benchmarks"),
    "ccneg": ("dataset_scripts.ccneg_folder", "Write CC-Neg as a folder that load_dataset reads"),
}
# These start processes of their own, which have to end with them.
WITH_WORKERS = ("negate", "distractors", "ccneg", "reproduce")


def main(argv: list[str] | None = None) -> int:
    command, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help"):
        print(usage())
        return 0
    if command == "--version":
        # Imported late: `conclip search` does without it, and it takes 20 ms.
        from importlib.metadata import version

        print(f"conclip {version('conclip')}")
        return 0
    if command not in COMMANDS:
        near = get_close_matches(command, COMMANDS, n=1)
        hint = f", did you mean {near[0]}?" if near else "."
        print(f"Error: unknown command {command!r}{hint}\n\n{usage()}", file=sys.stderr)
        return 2
    if command in WITH_WORKERS:
        exit_on_sigterm()
    try:
        # Imported here, so that one command does not wait for the libraries of another.
        module = importlib.import_module(COMMANDS[command][0])
    except KeyboardInterrupt:
        return 130
    return module.main(arguments)


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: conclip COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "`conclip COMMAND --help` lists the options of a command. To train on several GPUs:",
            "  accelerate launch --multi_gpu -m conclip train [OPTIONS]",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
