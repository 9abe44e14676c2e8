"""
Measure an approximate search for similar images (FAISS, IVF) against the exact one: recall and time.

    python -m speed.approximate_search --output_file approximate.json

Embeddings are drawn around common centres, as photographs of similar things are. The exact search is
`find_distractors`. Both use as many threads as OMP_NUM_THREADS says.
"""

import argparse

import numpy as np
import torch

from conclip.distractors import find_distractors
from speed.distractors import random_embeddings
from speed.paired import machine, seconds_of, write_json

# Embeddings that are drawn at a time, each chunk with a seed of its own.
CHUNK = 50_000


def clustered(count: int, dimensions: int, clusters: int, seed: int, noise: float) -> np.ndarray:
    """Return unit rows, float32, (count, dimensions)."""
    rows = np.empty((count, dimensions), np.float32)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        rows[start : start + size] = random_embeddings(size, dimensions, clusters, seed + start, noise)
    return rows


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the share of the exact neighbours, (n, k), that are among those found, (n, k)."""
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(exact, found, strict=True)]))


def measure(queries: np.ndarray, pool: np.ndarray, top_k: int, lists: int, probes: list[int]) -> dict:
    """
    Search exactly, then with each number of probes.

    Returns:
        {"exact_s", "train_and_add_s", "searches": [{"probes", "seconds", "recall"}]}; seconds are for all queries.

    Raises:
        SystemExit: FAISS is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise SystemExit('the approximate search needs FAISS: pip install "conclip[engines]".') from None
    faiss.omp_set_num_threads(torch.get_num_threads())
    exact, found = [], []
    options = {"duplicate_similarity": None}
    exact_s = seconds_of(lambda: exact.append(find_distractors(queries, pool, top_k, **options)), "cpu")
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(pool.shape[1]), pool.shape[1], lists, faiss.METRIC_INNER_PRODUCT)

    def build() -> None:
        index.train(pool[:: max(1, len(pool) // (40 * lists))])
        index.add(pool)

    build_s, searches = seconds_of(build, "cpu"), []
    for number in probes:
        index.nprobe = number
        seconds = seconds_of(lambda: found.append(index.search(queries, top_k)[1]), "cpu")
        searches.append({"probes": number, "seconds": seconds, "recall": recall(found[-1], exact[0].indices)})
    return {"exact_s": exact_s, "train_and_add_s": build_s, "searches": searches}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m speed.approximate_search", description=__doc__.split("\n")[1])
    add = parser.add_argument
    add("--queries", type=int, default=1_000)
    add("--pool", type=int, default=1_000_000)
    add("--dimensions", type=int, default=256)
    add("--clusters", type=int, default=20_000, help="of the random embeddings (default: 20,000)")
    add("--noise", type=float, default=0.5, help="0.5: similarities of 0.8 around a centre, 1: 0.5 (default: 0.5)")
    add("--lists", type=int, default=2_048, help="of the index (default: 2,048)")
    add("--probes", type=int, nargs="+", default=[1, 4, 16, 64, 256], help="lists that a search looks into")
    add("--top_k", type=int, default=10)
    add("--output_file", default="outputs/speed/approximate_search.json")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    pool = clustered(args.pool, args.dimensions, args.clusters, 2, args.noise)
    queries = clustered(args.queries, args.dimensions, args.clusters, 1, args.noise)
    found = measure(queries, pool, args.top_k, args.lists, args.probes)
    write_json({"settings": vars(args), "machine": machine("cpu"), **found}, args.output_file)
    print(f"exact: {found['exact_s']:.1f} s; train and fill the index: {found['train_and_add_s']:.1f} s")
    for search in found["searches"]:
        print(f"{search['probes']} of {args.lists:,} lists: {search['seconds']:.2f} s, recall {search['recall']:.3f}")


if __name__ == "__main__":
    main()
