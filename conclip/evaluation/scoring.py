"""
Score one model on one benchmark: each kind of benchmark with its metric.

In most benchmarks an item is scored by its own images and captions alone (`score_items.py`). In retrieval and
zero-shot classification every query is compared with one pool of images, captions or classes (`score_retrieval.py`,
`score_classes.py`).
"""

from conclip.evaluation.items import ItemReader
from conclip.evaluation.score import Record, Score
from conclip.evaluation.score_classes import score_classes
from conclip.evaluation.score_items import score_items
from conclip.evaluation.score_retrieval import score_retrieval
from conclip.evaluation.scorers import EmbeddingScorer, Scorer
from dataset_scripts.benchmarks.schema import Kind

# Kinds of benchmarks whose queries are compared with one pool; the others score each item alone.
POOLED = (Kind.RETRIEVAL, Kind.CLASSES)


def score_benchmark(reader: ItemReader, scorer: Scorer, record: Record | None = None) -> list[Score]:
    """
    Score a model on a benchmark of any kind.

    Args:
        record: receives the samples: the scores of each item, or the rank of each query.

    Returns:
        The scores; none if the model cannot be scored on this benchmark.
    """
    kind = reader.benchmark.kind
    if not can_score(kind, scorer):
        return []
    if kind not in POOLED:
        return score_items(reader, scorer, record)
    return (score_retrieval if kind is Kind.RETRIEVAL else score_classes)(reader, scorer.encoder, record)


def can_score(kind: Kind, scorer: Scorer) -> bool:
    """Return whether a model can be scored: a pool is compared by embeddings."""
    return kind not in POOLED or isinstance(scorer, EmbeddingScorer)
