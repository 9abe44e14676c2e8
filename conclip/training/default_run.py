"""
The default run, which names neither a model nor a loss: what its two trainings on the scenes made of the base.

`conclip.training.arguments.parse_trainings` has the options of both.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from conclip.atomic_write import write_atomically
from conclip.embedding.texts import embed_texts
from conclip.models.clip import load_model
from conclip.training.comparison import Search, compare_table, draw_rankings, most_ties, search
from conclip.training.report import COMPARISON_FILE, RANKINGS_FILE, RESULTS_FILE
from conclip.training.scenes_questions import ceiling
from conclip.training.trainer import ConCLIPTrainer
from modeling_conclip import ConCLIPModel

BASE, PAPER, OURS, ARITHMETIC = "base", "CoN-CLIP", "ours", "query arithmetic"
# The wordings of true negations.
WORDINGS = (" but no ", " and no ", " with no ")


def compare(trainer: ConCLIPTrainer, paper_dir: Path) -> None:
    """
    Print and write the scores of the base, of the paper's loss and of ours, and draw what each finds for texts with
    "no".

    Args:
        trainer: of the second training; its folder gets the comparison.
        paper_dir: folder of the first training.
    """
    folder = Path(trainer.args.output_dir)
    paper, ours = (json.loads((own / RESULTS_FILE).read_text("utf-8")) for own in (paper_dir, folder))
    columns = {BASE: paper["before"], PAPER: paper["after"], OURS: ours["after"]}
    # With the anchor that follows from the captions, as the second model was taught.
    columns[ARITHMETIC] = ours["query_arithmetic"]
    folders = {BASE: folder.parent / ours["base_model"], PAPER: paper_dir, OURS: folder}
    models = {name: load_model(str(own))[0].to(trainer.accelerator.device).eval() for name, own in folders.items()}
    searches = rank_images(trainer, models)
    best = ceiling(models[BASE], trainer.evaluator) if trainer.evaluator.questions else {}
    title = f"scenes, {ours['split']} split: {BASE}, the paper's loss ({PAPER}) and {OURS}"
    if trainer.accelerator.is_main_process:
        written = {
            "title": title,
            "models": {name: own.name for name, own in folders.items()},
            "scores": columns,
            "multiple choice ceiling": best,
            "rankings": [asdict(asked) for asked in searches],
            "versions": ours["versions"],
        }
        write_atomically(folder / COMPARISON_FILE, f"{json.dumps(written, indent=2)}\n".encode())
        draw_rankings(searches, trainer.evaluator.images, folder / RANKINGS_FILE)
    trainer.accelerator.print(
        f"\n{compare_table(columns, title)}\n\n{_notes(columns, best)}\n"
        f"Comparison: {folder / COMPARISON_FILE}, {folder / RANKINGS_FILE}"
    )


def _notes(columns: dict[str, dict], best: dict[str, float]) -> str:
    """Return what the table needs to be read; `best` is the ceiling of multiple choice, empty without questions."""
    notes = [
        f"A tie counts as an error; there are {most_ties(columns)} at most in a row. Query arithmetic is the base, "
        "untrained."
    ]
    if best:
        kinds = ", ".join(f"{kind} {100 * value:.1f}" for kind, value in best.items() if kind != "all")
        reached = f"Linear probes on the image embeddings reach {100 * best['all']:.1f} in multiple choice"
        notes.append(f"{reached} ({kinds}).")
    return "\n".join(notes)


def queries_to_show(texts: Sequence[str]) -> list[int]:
    """
    Return which true negations the figure shows: of each wording the shortest, of these the first, each with another
    shape denied.
    """
    chosen, denied = [], set()
    for wording in WORDINGS:
        own = [at for at, text in enumerate(texts) if wording in text and text.split()[-1] not in denied]
        if own:
            chosen.append(min(own, key=lambda at: len(texts[at].split())))
            denied.add(texts[chosen[-1]].split()[-1])
    return chosen


def rank_images(trainer: ConCLIPTrainer, models: dict[str, ConCLIPModel]) -> list[Search]:
    """
    Rank the images of the evaluation rows for a few true negations.

    Args:
        models: by their names; all have the same image encoder.
    """
    evaluator, accelerator = trainer.evaluator, trainer.accelerator
    texts, truth = evaluator.queries["first image true, true negations"]
    chosen = queries_to_show(texts)
    tokens, embeds = trainer.tokenizer([texts[at] for at in chosen]), {}
    for name, model in models.items():
        embeds[name] = embed_texts(model, tokens, accelerator, trainer.args.per_device_eval_batch_size)
    images = evaluator.embedder(model, evaluator.images, "images")[:]
    return search([texts[at] for at in chosen], truth[chosen], embeds, images)
