"""
Time the search for distractors against the bare matrix product of the same embeddings, in turns in one process.

    python -m speed.distractors --output_file distractors.json

The product is computed in tiles of the same shape and discarded. Before the timing, the result is compared with a sort
of all scores in float64, for some of the rows.
"""

import argparse

import numpy as np
import torch

from conclip.distractors import find_distractors
from conclip.distractors.search import COLUMNS_PER_TILE, ROWS_PER_BLOCK
from speed.paired import as_text, machine, time_in_turns, write_json

CHECKED_ROWS = 500


def random_embeddings(count: int, dimensions: int, clusters: int, seed: int, noise: float = 1.0) -> np.ndarray:
    """
    Unit rows, float32, around common centres, as photographs of similar things; one in a hundred occurs twice.

    Two rows of a centre have a similarity of about 1 / (1 + noise²).
    """
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(clusters, dimensions))
    rows = centres[rng.integers(clusters, size=count)] + noise * rng.normal(size=(count, dimensions))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[rng.integers(count, size=count // 100)] = rows[rng.integers(count, size=count // 100)]
    return rows.astype(np.float32)


def bare_product(
    queries: torch.Tensor, pool: torch.Tensor, rows: int = ROWS_PER_BLOCK, columns: int = COLUMNS_PER_TILE
) -> None:
    buffer = torch.empty(rows * columns)
    for start in range(0, len(pool), columns):
        block = pool[start : start + columns]
        for at in range(0, len(queries), rows):
            tile = queries[at : at + rows]
            torch.mm(tile, block.T, out=buffer[: len(tile) * len(block)].view(len(tile), len(block)))


def check(queries: np.ndarray, pool: np.ndarray, top_k: int) -> None:
    rows = np.random.default_rng(1).choice(len(queries), size=min(CHECKED_ROWS, len(queries)), replace=False)
    scores = (queries[rows].astype(np.float64) @ pool.astype(np.float64).T).astype(np.float32)
    scores[scores >= 0.999] = -np.inf
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    indices, scores_found, _ = find_distractors(queries, pool, top_k)
    np.testing.assert_array_equal(indices[rows], expected)
    np.testing.assert_array_equal(scores_found[rows], np.take_along_axis(scores, expected, axis=1))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m speed.distractors", description=__doc__.split("\n")[1])
    add = parser.add_argument
    add("--queries", type=int, default=20_000)
    add("--pool", type=int, default=20_000)
    add("--dimensions", type=int, default=512)
    add("--clusters", type=int, default=2_000, help="of the random embeddings (default: 2,000)")
    add("--top_k", type=int, default=3)
    add("--rounds", type=int, default=7)
    add("--output_file", default="outputs/speed/distractors.json")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    queries = random_embeddings(args.queries, args.dimensions, args.clusters, seed=1)
    pool = random_embeddings(args.pool, args.dimensions, args.clusters, seed=2)
    check(queries, pool, args.top_k)
    tensors = torch.from_numpy(queries), torch.from_numpy(pool)
    times = time_in_turns(
        ours=lambda: bare_product(*tensors),
        reference=lambda: find_distractors(queries, pool, args.top_k),
        rounds=args.rounds,
    )
    ratio = times["ratio"]
    names = {"search_s": times["reference_s"], "product_s": times["ours_s"], "search_to_product": ratio}
    write_json({"settings": vars(args), "machine": machine("cpu"), **names}, args.output_file)
    sizes = f"{args.queries:,} x {args.pool:,} x {args.dimensions}"
    print(f"{sizes}, the {args.top_k} most similar: {as_text(ratio)} the product")


if __name__ == "__main__":
    main()
