"""
Distractors: for each image its nearest look-alikes in a pool of images, by their embeddings.

    python -m conclip.distractors.command --queries cc3m.npz --pool coco_train2017.npz --top_k 3 \
        --output CC-Neg/distractor_image_mapping.pt

The file is the authors' mapping (arXiv 2403.20312: the nearest COCO train2017 images), which `dataset_scripts.ccneg`
reads; with the suffix .parquet, a table of indices and scores. A report stands beside it, with the suffix .json. With
`--targets` (what each negated caption denies) and `--pool_captions`, distractors are those of which the negated
caption is true; where fewer than k are, the nearest others follow them. Stopped, the same command goes on.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from conclip.atomic_write import WriteError, write_atomically
from conclip.distractors.caption_filter import Agreement
from conclip.distractors.files import (
    DistractorError,
    Distractors,
    Embeddings,
    Parts,
    check_output,
    key_of,
    read_embeddings,
    read_texts,
    write_distractors,
)
from conclip.distractors.search import BACKENDS, ROWS_A_BLOCK, Search


def find_distractors(
    queries,
    pool,
    k: int,
    agreement: Agreement | None = None,
    parts: Parts | None = None,
    progress: bool = False,
    **options,
) -> Distractors:
    """
    Args:
        queries, pool, k, options: see `nearest.Search`.
        agreement: those that agree come first, then the nearest others; queries without a target get the nearest.
        parts: keeps finished blocks of rows, for a run that goes on.
    """
    plain = Search(queries, pool, k, **options)
    agreeing = Search(queries, pool, k, **{**options, "allowed": agreement, "backend": "torch"}) if agreement else None
    found = []
    with tqdm(total=len(queries), desc="Searching", unit=" images", disable=not progress) as bar:
        for start in range(0, len(queries), ROWS_A_BLOCK):
            rows = np.arange(start, min(start + ROWS_A_BLOCK, len(queries)))
            part = parts.read(start, len(rows)) if parts else None
            if part is None:
                part = _search(plain, agreeing, rows)
                if parts:
                    parts.write(start, part)
            found.append(part)
            bar.update(len(rows))
    return Distractors(
        *(np.concatenate([getattr(part, name) for part in found]) for name in Distractors.__annotations__)
    )


def _search(plain: Search, agreeing: Search | None, rows: np.ndarray) -> Distractors:
    if agreeing is None:
        indices, scores = plain.rows(rows)
        return Distractors(indices, scores, np.zeros(indices.shape, bool))
    indices, scores = np.full((len(rows), plain.k), -1), np.full((len(rows), plain.k), -np.inf, np.float32)
    with_target = np.flatnonzero(agreeing.allowed.has_target[rows])
    if len(with_target):
        indices[with_target], scores[with_target] = agreeing.rows(rows[with_target])
    agrees = indices >= 0
    lacking = np.flatnonzero(~agrees.all(axis=1))
    if len(lacking):
        others = plain.rows(rows[lacking])
        for row, other, score in zip(lacking, *others, strict=True):
            have = agrees[row].sum()
            new = ~np.isin(other, indices[row, :have])
            count = min(plain.k - have, new.sum())
            indices[row, have : have + count] = other[new][:count]
            scores[row, have : have + count] = score[new][:count]
    return Distractors(indices, scores, agrees)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m conclip.distractors.command", description=__doc__.split("\n")[1])
    add = parser.add_argument
    add("--queries", type=Path, required=True, help="unit embeddings of the images, .npy or .npz")
    add("--pool", type=Path, help="those of the pool (default: the queries, of which none finds itself)")
    add("--output", type=Path, required=True, help="file to write: .pt, the authors' mapping, or .parquet")
    add("--overwrite_output", action="store_true", help="replace the file if it exists")
    add("--top_k", type=int, default=3, help="distractors for each image (default: 3, as in the authors' mapping)")
    add(
        "--duplicate_similarity", type=float, default=0.999, help="from there on it is the same image (default: 0.999)"
    )
    add("--targets", type=Path, help="JSON: what the negated caption of each query denies")
    add("--subjects", type=Path, help="JSON: what the distractors of each query must show (default: anything)")
    add("--pool_captions", type=Path, help="JSON: all captions of each image of the pool, also in COCO's format")
    add("--pool_labels", type=Path, help="JSON: object labels of each image of the pool, also in COCO's format")
    add("--backend", choices=BACKENDS, default="auto", help="the result is the same (default: auto)")
    return parser.parse_args(argv)


def read_agreement(args: argparse.Namespace, queries: Embeddings, pool: Embeddings) -> tuple | None:
    """Arguments of `Agreement`; `None` where none was asked for."""
    if not (args.targets and args.pool_captions):
        if args.targets or args.subjects or args.pool_captions or args.pool_labels:
            raise DistractorError("Distractors that agree need both --targets and --pool_captions.")
        return None
    texts = read_texts(args.pool_captions, pool)
    if args.pool_labels:
        labels = read_texts(args.pool_labels, pool)
        texts = [captions + of_image for captions, of_image in zip(texts, labels, strict=True)]
    subjects = None
    if args.subjects:
        subjects = [" ".join(texts_) for texts_ in read_texts(args.subjects, queries)]
    return texts, read_texts(args.targets, queries), subjects


def write_file(args: argparse.Namespace) -> dict:
    """Writes `args.output` and its report, which it returns. Raises `DistractorError`, `ValueError`, `WriteError`."""
    queries = read_embeddings(args.queries)
    pool = queries
    if args.pool and not (args.pool.exists() and args.pool.samefile(args.queries)):
        pool = read_embeddings(args.pool)
    check_output(args.output, args.overwrite_output, pool)
    texts = read_agreement(args, queries, pool)
    parts = Parts(
        args.output.with_name(f"{args.output.name}.parts"),
        key_of(queries, pool, args.top_k, args.duplicate_similarity, texts),
    )
    agreement = Agreement(*texts) if texts else None
    found = find_distractors(
        queries.rows,
        pool.rows,
        args.top_k,
        agreement,
        parts,
        progress=True,
        duplicate_similarity=args.duplicate_similarity,
        query_keys=queries.keys,
        pool_keys=pool.keys,
        backend=args.backend,
    )
    short = np.flatnonzero(found.indices[:, -1] < 0)
    if len(short):
        parts.remove()
        raise DistractorError(
            f"The pool has only {(found.indices[short[0]] >= 0).sum()} images for row {short[0]} that are not the "
            f"image itself ({len(short)} such rows): add images, or lower --top_k."
        )
    report = make_report(found, len(pool.rows), agreement and agreement.has_target)
    write_distractors(args.output, found.indices, found.scores, found.agrees if agreement else None)
    write_atomically(args.output.with_suffix(".json"), (json.dumps(report, indent=2) + "\n").encode())
    parts.remove()
    return report


def make_report(found: Distractors, pool: int, has_target: np.ndarray | None) -> dict:
    """Counts of rows; `mean_score` is the mean dot product with the first distractor."""
    rows, k = found.indices.shape
    report = {"rows": rows, "pool": pool, "top_k": k, "mean_score": float(found.scores[:, 0].mean(dtype=np.float64))}
    if has_target is not None:
        agreeing = found.agrees.sum(axis=1)
        report |= {
            "rows_without_target": int((~has_target).sum()),
            "rows_all_agree": int((has_target & (agreeing == k)).sum()),
            "rows_some_agree": int((has_target & (agreeing > 0) & (agreeing < k)).sum()),
            "rows_none_agrees": int((has_target & (agreeing == 0)).sum()),
        }
    return report


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status; whatever goes wrong is told in one sentence."""
    args = parse_args(argv)
    try:
        report = write_file(args)
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on from the rows that are finished.", 130)
    except (ValueError, WriteError) as error:
        return _fail(str(error))
    print(f"Wrote {args.output}: " + ", ".join(f"{name} {value:,.6g}" for name, value in report.items()))
    return 0


def _fail(message: str, status: int = 1) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    # A job that a scheduler ends must tidy up as one ended by Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
