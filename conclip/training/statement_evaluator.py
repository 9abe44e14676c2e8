"""Scores of a text encoder on statements that it was not trained on, without images."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from conclip.embedding.retrieval import text_to_image_recall
from conclip.embedding.tokens import TextTokens
from conclip.negation.query import Query
from conclip.negation.statements import StatementGenerator

FOUND, KEPT = "statement finds its target@1", "cosine of captions to the base"
AFFIRMATIVE = "affirmative"


class StatementEvaluator:
    """
    Score a text encoder on held-out statements.

    A statement is right if, among the distinct targets of all statements, its own is the nearest. Beside that: how
    near plain captions stay to their embeddings by the base model.

    Args:
        generator: of captions that are not trained on.
        tokenize: takes texts and returns their tokens.
        count: statements to score.
        targets: takes the queries of n statements and returns their targets, float32, (n, d), unit rows.
    """

    def __init__(
        self,
        generator: StatementGenerator,
        tokenize: Callable[[list[str]], TextTokens],
        count: int,
        targets: Callable[[Sequence[Query]], torch.Tensor],
    ):
        statements = [generator(0, index) for index in range(count)]
        self.tokens = tokenize([statement.text for statement in statements])
        self.kinds = np.array([statement.kind for statement in statements])
        self.targets = targets([statement.query for statement in statements])
        distinct, own = np.unique(self.targets.numpy(), axis=0, return_inverse=True)
        # Its shape differs between versions of numpy.
        self.distinct, self.own = torch.from_numpy(distinct), own.ravel()

    def __call__(self, embed: Callable[[TextTokens], torch.Tensor]) -> dict:
        """
        Args:
            embed: takes the tokens of n texts and returns unit embeddings, float32, (n, d).

        Returns:
            Metrics by name, each a dict of value, count, ties and chance; the first also has categories, the kinds of
            statements.
        """
        embeds = embed(self.tokens)
        result = text_to_image_recall(
            embeds, np.arange(len(embeds)), self.distinct, np.arange(len(self.distinct)), self.own, ks=[1]
        )
        ranks, tied = (np.array(result["items"][name]) for name in ("rank", "tied"))
        kinds = {}
        for kind in sorted(set(self.kinds)):
            of_kind = self.kinds == kind
            right = ranks[of_kind] == 1
            kinds[kind] = {
                "accuracy": float(right.mean()),
                "count": int(of_kind.sum()),
                "ties": int(tied[of_kind].sum()),
            }
        found = {"value": result["recall_at_1"], "count": len(embeds), "ties": result["ties_at_1"]}
        metrics = {FOUND: {**found, "chance": result["chance_at_1"], "categories": kinds}}
        plain = self.kinds == AFFIRMATIVE
        if plain.any():
            cosines = (embeds * self.targets).sum(dim=1).numpy()[plain]
            metrics[KEPT] = {"value": float(cosines.mean()), "count": int(plain.sum()), "ties": 0, "chance": 0.0}
        return metrics
