"""
The command `conclip distractors`: find similar images and write them to a file.

The file is the authors' mapping (arXiv 2403.20312: the most similar COCO train2017 images), which `conclip ccneg`
reads, or, with the suffix .parquet, a table of indices and scores. A report is written beside it, with the suffix
.json.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from conclip.atomic_write import writable_folder, write_atomically
from conclip.cli import Parser, option
from conclip.errors import UsageError
from conclip.folder_lock import in_use
from conclip.runtime import run_command


@dataclass
class FileArguments:
    queries: Path = option(help="L2-normalised embeddings of the images, .npy or .npz (`conclip embed` writes them)")
    output_file: Path = option(help="file to write: .pt for the layout of CC-Neg's mapping, or .parquet")
    pool: Path | None = option(None, "embeddings of the pool; without it, the queries are the pool")
    overwrite: bool = option(False, "replace the file if it exists")


@dataclass
class SearchArguments:
    top_k: int = option(3, "distractors for each image; CC-Neg's mapping has 3", at_least=1)
    duplicate_similarity: float = option(
        0.999, "images with this cosine similarity or more are copies, not distractors"
    )


@dataclass
class CaptionArguments:
    negated_phrases: Path | None = option(
        None, "JSON file: the phrases that the negated caption of each query negates"
    )
    subjects: Path | None = option(None, "JSON file: the object that the distractors of each query should show")
    pool_captions: Path | None = option(
        None, "JSON file: all captions of each image of the pool, or COCO's captions file"
    )
    pool_labels: Path | None = option(
        None, "JSON file: object labels of each image of the pool, or COCO's instances file"
    )


PARSER = Parser(
    {
        "Files": FileArguments,
        "Search": SearchArguments,
        "Images that match the negated caption": CaptionArguments,
    },
    prog="conclip distractors",
    description=(
        "Find for each image the most similar images of a pool. With --negated_phrases and --pool_captions, images "
        "that match the negated caption come first, judged by their captions. An "
        "interrupted run continues with the same command."
    ),
    example="conclip distractors --queries images.npz --pool coco.npz --output_file distractors.parquet",
)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_command(
        lambda: run(*PARSER.parse(argv)),
        interrupted="Interrupted. The same command continues from the rows that are finished.",
    )


def run(files: FileArguments, search: SearchArguments, captions: CaptionArguments) -> None:
    writable_folder(files.output_file.parent, "--output_file")
    with in_use(files.output_file, "--output_file", beside=True):
        report = write_file(**vars(files), **vars(search), **vars(captions))
    print(f"Wrote {files.output_file}: " + ", ".join(f"{name} {value:,.6g}" for name, value in report.items()))


def write_file(
    queries: Path,
    output_file: Path,
    pool: Path | None = None,
    overwrite: bool = False,
    top_k: int = 3,
    duplicate_similarity: float = 0.999,
    negated_phrases: Path | None = None,
    subjects: Path | None = None,
    pool_captions: Path | None = None,
    pool_labels: Path | None = None,
) -> dict:
    """
    Search, and write `output_file` and its report; the parameters are the options of the command.

    Returns:
        The report: "rows", "pool", "top_k", "mean_score" (the mean score of the first distractor) and, with
        `negated_phrases`, how many rows have a negated phrase and how many of their distractors fit it.

    Raises:
        UsageError: a file cannot be read or written, or the pool is too small.
    """
    # Imported here, since torch takes seconds and `--help` needs none of it.
    import numpy as np

    from conclip.distractors.caption_filter import CaptionFilter
    from conclip.distractors.files import Parts, check_output, key_of, read_texts, write_distractors
    from conclip.distractors.search import find_distractors
    from conclip.embedding.embedding_files import read_embeddings

    images = pool_images = read_embeddings(queries)
    if pool and not (pool.exists() and pool.samefile(queries)):
        pool_images = read_embeddings(pool)
    check_output(output_file, overwrite, pool_images)
    texts = None
    if negated_phrases and pool_captions:
        texts = [read_texts(pool_captions, pool_images), read_texts(negated_phrases, images)]
        if pool_labels:
            labels = read_texts(pool_labels, pool_images)
            texts[0] = [captions + of_image for captions, of_image in zip(texts[0], labels, strict=True)]
        if subjects:
            texts.append([" ".join(of_query) for of_query in read_texts(subjects, images)])
    elif negated_phrases or subjects or pool_captions or pool_labels:
        raise UsageError("A search by captions needs both --negated_phrases and --pool_captions.")
    caption_filter = CaptionFilter(*texts) if texts else None
    parts = Parts(
        output_file.with_name(f"{output_file.name}.parts"),
        key_of(images, pool_images, top_k, duplicate_similarity, texts),
    )
    found = find_distractors(
        images.rows,
        None if pool_images is images else pool_images.rows,
        top_k,
        duplicate_similarity=duplicate_similarity,
        query_keys=images.keys,
        pool_keys=pool_images.keys,
        caption_filter=caption_filter,
        parts=parts,
        progress=True,
    )
    incomplete = np.flatnonzero(found.indices[:, -1] < 0)
    if len(incomplete):
        parts.remove()
        raise UsageError(
            f"The pool has only {(found.indices[incomplete[0]] >= 0).sum()} images for row {incomplete[0]} that are "
            f"not copies of its image ({len(incomplete)} such rows): add images, or lower --top_k."
        )
    report = {
        "rows": len(found.indices),
        "pool": len(pool_images.rows),
        "top_k": top_k,
        "mean_score": float(found.scores[:, 0].mean(dtype=np.float64)),
    }
    if caption_filter:
        negates, fitting = caption_filter.negates, found.negation_holds.sum(axis=1)
        report |= {
            "rows_without_negated_phrase": int((~negates).sum()),
            "rows_all_fit": int((negates & (fitting == top_k)).sum()),
            "rows_some_fit": int((negates & (fitting > 0) & (fitting < top_k)).sum()),
            "rows_none_fits": int((negates & (fitting == 0)).sum()),
        }
    write_distractors(output_file, found, with_negation=caption_filter is not None)
    write_atomically(output_file.with_suffix(".json"), (json.dumps(report, indent=2) + "\n").encode())
    parts.remove()
    return report
