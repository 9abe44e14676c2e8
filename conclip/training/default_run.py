"""
Compare the base with the two models that the default run trains.

The default run names neither a model nor a loss; `conclip.training.arguments.parse_trainings` makes its options.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from conclip.atomic_write import write_atomically
from conclip.embedding.texts import embed_texts
from conclip.models.clip import load_model, unwrap_lora
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
    Print and write the scores of the base, of the paper's loss and of ours, and draw the images that each ranks first
    for texts with "no".

    Args:
        trainer: of the second training, from the same base as the first; the comparison is written to its folder.
        paper_dir: folder of the first training.
    """
    folder = Path(trainer.args.output_dir)
    paper, ours = (json.loads((own / RESULTS_FILE).read_text("utf-8")) for own in (paper_dir, folder))
    columns = {BASE: paper["before"], PAPER: paper["after"], OURS: ours["after"]}
    # The anchor follows from the captions, as in the targets of the second training.
    columns[ARITHMETIC] = ours["query_arithmetic"]
    folders = {BASE: Path(unwrap_lora(trainer.model).config.name_or_path), PAPER: paper_dir, OURS: folder}
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
        if searches:
            draw_rankings(searches, trainer.evaluator.images, folder / RANKINGS_FILE)
    figure = f", {folder / RANKINGS_FILE}" if searches else ""
    trainer.accelerator.print(
        f"\n{compare_table(columns, title)}\n\n{_notes(columns, best)}\nComparison: {folder / COMPARISON_FILE}{figure}"
    )


def _notes(columns: dict[str, dict], best: dict[str, float]) -> str:
    """Return the notes below the table; `best` is the ceiling of multiple choice, empty without questions."""
    notes = [
        f"A tie counts as an error; each score has at most {most_ties(columns)}. "
        "Query arithmetic uses the base without training."
    ]
    if best:
        kinds = ", ".join(f"{kind} {100 * value:.1f}" for kind, value in best.items() if kind != "all")
        reached = f"Linear probes on the image embeddings reach {100 * best['all']:.1f} in multiple choice"
        notes.append(f"{reached} ({kinds}).")
    return "\n".join(notes)


def queries_to_show(texts: Sequence[str]) -> list[int]:
    """
    Choose the queries of the figure: the shortest true negation of each wording (the first of several), each about a
    different shape.

    Returns:
        Their numbers.
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
    Rank the images of the evaluation rows for a few true negations; return nothing if the rows have none.

    Args:
        models: by their names; all have the frozen image encoder of the base.
    """
    evaluator, accelerator = trainer.evaluator, trainer.accelerator
    texts, truth = evaluator.queries.get("first image true, true negations", ([], None))
    chosen = queries_to_show(texts)
    if not chosen:
        return []
    tokens, embeds = trainer.tokenizer([texts[at] for at in chosen]), {}
    for name, model in models.items():
        embeds[name] = embed_texts(model, tokens, accelerator, trainer.args.per_device_eval_batch_size)
    images = evaluator.embedder(models[BASE], evaluator.images, "images")[:]
    return search([texts[at] for at in chosen], truth[chosen], embeds, images)
