"""Targets of negation distillation: query arithmetic on embeddings of the base model, before it is trained."""

from collections.abc import Callable, Sequence

import torch

from conclip.negation.arithmetic import QueryArithmetic, thing_name
from conclip.negation.query import Query
from conclip.negation.statements import StatementGenerator

# Share of the directions of things, beside captions, in what scores are compared over. Images in place of captions
# gave the same model.
_DIRECTIONS = 0.2


class Teacher:
    """
    What the base model says a text with negation should be embedded as.

    All embeddings that the targets are made of are computed when the teacher is made, before training changes the
    model, and in an order that depends on the generators alone.

    Args:
        embed: the base model: takes n texts and returns unit embeddings, float32, (n, d).
        generators: the sources of statements, that of the training first: the direction of a thing is learned from the
            captions of the first.
        beta: as in `QueryArithmetic`.
        anchor_weight: as in `QueryArithmetic`; by default `common_part` of the captions of the first generator. For
            "no dog", embeddings with a large common part, as CLIP's, need a constant to start from, and centred ones
            do best with little of it.
    """

    def __init__(
        self,
        embed: Callable[[list[str]], torch.Tensor],
        generators: Sequence[StatementGenerator],
        beta: float = 0.5,
        anchor_weight: float | None = None,
    ):
        self._at: dict[str, int] = {}
        self._table, self._embed = torch.empty(0), embed
        captions = generators[0].captions
        things = list(dict.fromkeys(thing for generator in generators for thing in generator.things()))
        # One call: each has its progress bar.
        texts = [text for generator in generators for text in generator.base_texts()]
        self._add(texts)
        if anchor_weight is None:
            anchor_weight = common_part(self._look_up(captions))
        self.arithmetic = QueryArithmetic(self._look_up, beta, anchor_weight)
        self.arithmetic.learn(things, captions)
        self.arithmetic.presence([text for text in texts if thing_name(text)])
        directions = self.arithmetic.direction(things)
        captions = _mean_outer(self._look_up(captions))
        self.second_moment = (1 - _DIRECTIONS) * captions + _DIRECTIONS * _mean_outer(directions)
        self._embed = None

    def __call__(self, queries: Sequence[Query]) -> torch.Tensor:
        """Return the targets of n statements, float32, (n, d), unit rows."""
        return self.arithmetic(queries)

    def _add(self, texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._at]
        if not new:
            return
        if self._embed is None:
            raise KeyError(f"The base model has not embedded {new[0]!r}.")
        embeds = self._embed(new)
        self._table = torch.cat([self._table, embeds]) if self._at else embeds
        self._at.update({text: len(self._at) + at for at, text in enumerate(new)})

    def _look_up(self, texts: Sequence[str]) -> torch.Tensor:
        self._add(texts)
        return self._table[[self._at[text] for text in texts]]


def common_part(embeds: torch.Tensor) -> float:
    """Return the root of the length of the mean of unit rows, (n, d): 0 if they are centred, 1 if they are equal."""
    return embeds.mean(dim=0).norm().sqrt().item()


def _mean_outer(rows: torch.Tensor) -> torch.Tensor:
    return rows.T @ rows / len(rows)
