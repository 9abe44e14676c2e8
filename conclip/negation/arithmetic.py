"""
Query arithmetic: embed a query with negation by arithmetic on embeddings of affirmative texts, without training.

e(·) is the unit embedding of a text. For a thing x ("dog"):

    U(x) = norm(mean of e over "a photo of a dog.", "a dog" and "there is a dog.")      presence
    P(x) = norm(U(x) - mean of U over many things)                                     direction

A query that wants w and does not want x and y is embedded as norm(w - β (P(x) + P(y))), where w is U of a thing, e of
another text, or the anchor, e of "a photo", if nothing is wanted. An unwanted text that names no thing, such as
"running", has the direction norm(e - mean of U). Phrases ("running", "red hat") are subtracted twice. A query that
negates nothing keeps its embedding.

`learn` replaces what templates say of a thing by what captions say of it: P(x) becomes the mean embedding of the
captions that name x, less the mean of all captions.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import torch
from torch.nn import functional as F

from conclip.errors import UsageError
from conclip.negation.lexicon.inflection import singular
from conclip.negation.lexicon.names import some
from conclip.negation.lexicon.nouns import is_visible, read_nouns
from conclip.negation.query import Query, parse_query

PRESENCE = ("a photo of {}.", "{}", "there is {}.")
ANCHOR = ("a photo of something.", "this is a photo.", "a photo.")
# What SpaceVLM's rule begins with where nothing is wanted, and its threshold that was best on a small model.
NOTHING_WANTED, THRESHOLD = "A photo of something", 0.8
# The direction that templates give counts as much as so many captions of average agreement.
TEMPLATES_COUNT = 2
# A phrase that is no name ("running on a beach", "red hat") is subtracted twice: of captions against their false
# negations, the images of Flickr8k then prefer 99.7 in place of 98.0 in a hundred.
PHRASE_WEIGHT = 2.0
# What is said of a thing in so many words at most is a name for it: "a red hat".
_MOST_WORDS = 3
_ARTICLE = re.compile(r"^(?:an?|any|the|some)\s+", re.I)
_WORD = re.compile(r"[a-z]+")


class QueryArithmetic:
    """
    Embed queries by arithmetic on embeddings of affirmative texts.

    Make one for a model and call it with any number of queries: what it needs to know of things is embedded once and
    kept.

    Args:
        embed: takes n texts and returns their embeddings, (n, d), normalised or not.
        beta: how much of each unwanted thing is subtracted.
        anchor_weight: weight of the anchor where nothing is wanted. Models whose embeddings have a large common part,
            as CLIP's, need 1; where they are centred, less is better.
        nouns: things of which the mean is taken; by default the commonest of `nouns.tsv`.

    Raises:
        UsageError: `beta` is not above 0 or `anchor_weight` is negative.

    Example:
        >>> arithmetic = QueryArithmetic(embed)
        >>> arithmetic(["a street with no cars", "no person is visible"]).shape
        torch.Size([2, 512])
    """

    def __init__(
        self,
        embed: Callable[[list[str]], torch.Tensor],
        beta: float = 0.5,
        anchor_weight: float = 1.0,
        nouns: Sequence[str] | None = None,
    ):
        if not beta > 0:
            raise UsageError(f"beta must be above 0, got {beta}.")
        if not anchor_weight >= 0:
            raise UsageError(f"anchor_weight must be 0 or more, got {anchor_weight}.")
        self._embed, self.beta, self.anchor_weight = embed, beta, anchor_weight
        # Thing -> its presence by the templates, and what `learn` found in place of presence and direction.
        self._templates: dict[str, torch.Tensor] = {}
        self._learned: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.anchor = F.normalize(self._texts(list(ANCHOR)).mean(dim=0), dim=0)
        self.mean = self._templated(list(nouns or read_nouns().totals)).mean(dim=0)
        # Of texts that are no name of a thing; `learn` takes that of captions.
        self._text_mean = self.mean

    def presence(self, things: Sequence[str]) -> torch.Tensor:
        """Return U of n things ("dog", "red hat"), float32, (n, d), unit rows."""
        names = [self._name(thing) or thing for thing in things]
        templated = self._templated(names)
        found = [
            self._learned[name][0] if name in self._learned else row
            for name, row in zip(names, templated, strict=True)
        ]
        return torch.stack(found) if found else templated

    def direction(self, things: Sequence[str]) -> torch.Tensor:
        """Return P of n things, float32, (n, d), unit rows."""
        names = [self._name(thing) or thing for thing in things]
        templated = F.normalize(self._templated(names) - self.mean, dim=1)
        found = [
            self._learned[name][1] if name in self._learned else row
            for name, row in zip(names, templated, strict=True)
        ]
        return torch.stack(found) if found else templated

    def learn(self, things: Sequence[str], captions: Sequence[str], embeds: torch.Tensor | None = None) -> None:
        """
        Learn the directions of things from captions.

        The direction of a thing that n captions name is norm(sum over these of e - mean + k p), where the mean is that
        of all captions, p is what the templates give, of the median length of what captions give, and k is 2. Its
        presence is norm(U + that direction), with U by the templates.

        Args:
            things: names, singular and without article.
            captions: N affirmative captions.
            embeds: (N, d), what stands for each caption, such as the embedding of its image; by default the caption's.
        """
        rows = self._texts(list(captions)) if embeds is None else F.normalize(embeds.float(), dim=1)
        mean = rows.mean(dim=0)
        self._text_mean = mean if embeds is None else self._text_mean
        names = [self._name(thing) or thing for thing in things]
        at_caption, at_thing = mentions(names, captions)
        sums = torch.zeros(len(names), rows.shape[1]).index_add_(0, at_thing, rows[at_caption] - mean)
        counts = torch.bincount(at_thing, minlength=len(names))
        named = counts > 0
        if not named.any():
            return
        agreement = (sums[named].norm(dim=1) / counts[named]).median()
        templates = self._templated(names)
        directions = F.normalize(sums + TEMPLATES_COUNT * agreement * F.normalize(templates - self.mean, dim=1), dim=1)
        presences = F.normalize(templates + directions, dim=1)
        for at in named.nonzero().flatten().tolist():
            self._learned[names[at]] = presences[at], directions[at]

    def __call__(self, queries: Sequence[str | Query]) -> torch.Tensor:
        """
        Embed queries.

        Args:
            queries: n texts, which `parse_query` splits, or queries that are split already.

        Returns:
            float32, (n, d), unit rows. A text that negates nothing has the embedding that `embed` gives, normalised.
        """
        split = [parse_query(query) if isinstance(query, str) else query for query in queries]
        embeds = self._wanted(split)
        denied = [(row, thing) for row, query in enumerate(split) for thing in query.unwanted]
        if not denied:
            return embeds
        rows = torch.tensor([row for row, _ in denied])
        subtracted = torch.zeros_like(embeds).index_add_(0, rows, self._unwanted([thing for _, thing in denied]))
        negated = rows.unique()
        embeds[negated] = F.normalize(embeds[negated] - self.beta * subtracted[negated], dim=1)
        return embeds

    def _wanted(self, queries: Sequence[Query]) -> torch.Tensor:
        """Return where each query begins, (n, d): unit rows, but the anchor has its weight."""
        names = [self._name(query.wanted) if query.unwanted else None for query in queries]
        texts = list(
            dict.fromkeys(
                query.wanted for query, name in zip(queries, names, strict=True) if query.wanted and not name
            )
        )
        things = list(dict.fromkeys(name for name in names if name))
        of_text = dict(zip(texts, self._texts(texts), strict=True)) if texts else {}
        of_thing = dict(zip(things, self.presence(things), strict=True)) if things else {}
        nothing = self.anchor_weight * self.anchor
        return torch.stack(
            [
                of_thing[name] if name else of_text[query.wanted] if query.wanted else nothing
                for query, name in zip(queries, names, strict=True)
            ]
        )

    def _unwanted(self, phrases: Sequence[str]) -> torch.Tensor:
        """Return what is subtracted for each unwanted phrase, (n, d): its direction, weighted."""
        distinct = list(dict.fromkeys(phrases))
        names = {phrase: self._name(phrase) for phrase in distinct}
        things = [phrase for phrase in distinct if names[phrase]]
        others = [phrase for phrase in distinct if not names[phrase]]
        found = dict(zip(things, self.direction(things), strict=True)) if things else {}
        if others:
            found |= dict(zip(others, F.normalize(self._texts(others) - self._text_mean, dim=1), strict=True))
        return torch.stack([found[phrase] * self._weight(names[phrase]) for phrase in phrases])

    def _weight(self, name: str | None) -> float:
        is_thing = name and (" " not in name or name in self._learned)
        return 1.0 if is_thing else PHRASE_WEIGHT

    def _name(self, phrase: str) -> str | None:
        """Return the name of a thing if the phrase is one, by its form or because it was said to be one before."""
        return phrase if phrase in self._templates else thing_name(phrase)

    def _templated(self, names: Sequence[str]) -> torch.Tensor:
        new = [name for name in dict.fromkeys(names) if name not in self._templates]
        if new:
            texts = [template.format(some(name, False)) for name in new for template in PRESENCE]
            rows = self._texts(texts).unflatten(0, (len(new), len(PRESENCE)))
            self._templates.update(zip(new, F.normalize(rows.mean(dim=1), dim=1), strict=True))
        return torch.stack([self._templates[name] for name in names])

    def _texts(self, texts: list[str]) -> torch.Tensor:
        return F.normalize(self._embed(texts).float(), dim=1)


class SpaceVLM:
    """
    Embed queries by the rule of SpaceVLM (arXiv 2511.12331), for comparison: see `spacevlm`.

    The wanted text is embedded as it is, or as "A photo of something" if nothing is wanted; several unwanted texts
    are joined by "and". A query that negates nothing keeps its embedding.

    Args:
        embed: takes n texts and returns their embeddings, (n, d), normalised or not.
        threshold: see `spacevlm`.
    """

    def __init__(self, embed: Callable[[list[str]], torch.Tensor], threshold: float = THRESHOLD):
        self._embed, self.threshold = embed, threshold

    def __call__(self, queries: Sequence[str | Query]) -> torch.Tensor:
        """Embed n texts or split queries, see `QueryArithmetic.__call__`."""
        split = [parse_query(query) if isinstance(query, str) else query for query in queries]
        wanted = F.normalize(self._embed([query.wanted or NOTHING_WANTED for query in split]).float(), dim=1)
        negated = [row for row, query in enumerate(split) if query.unwanted]
        if negated:
            unwanted = self._embed([" and ".join(split[row].unwanted) for row in negated])
            unwanted = F.normalize(unwanted.float(), dim=1)
            wanted[negated] = spacevlm(wanted[negated], unwanted, self.threshold)
        return wanted


def embed_negations(
    embeds: torch.Tensor, texts: Iterable[tuple[int, str]], arithmetic: Callable[[Sequence[Query]], torch.Tensor]
) -> None:
    """
    Replace the embeddings of texts that negate something, in place.

    Args:
        embeds: (n, d).
        texts: texts, each with its row in `embeds`.
        arithmetic: takes queries and returns their embeddings; not called if no text negates anything.
    """
    queries = {row: query for row, text in texts if (query := parse_query(text)).unwanted}
    if not queries:
        return
    # Equal queries get one embedding: two could differ by rounding, where they have to tie.
    distinct = list(dict.fromkeys(queries.values()))
    of_query = dict(zip(distinct, arithmetic(distinct), strict=True))
    for row, query in queries.items():
        embeds[row] = of_query[query]


def thing_name(phrase: str) -> str | None:
    """Return the name of a thing, singular and without article, if the phrase is one: "any red hats" -> "red hat"."""
    *before, head = _ARTICLE.sub("", phrase.strip().rstrip(".")).lower().split() or [""]
    name = singular(head)
    if len(before) >= _MOST_WORDS or not is_visible(name) or not all(word.isalpha() for word in before):
        return None
    return None if "and" in before or "or" in before or "of" in before else " ".join([*before, name])


def mentions(names: Sequence[str], captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Find which captions name which things, in the singular or the plural.

    Returns:
        int64, (m,) and (m,): the caption and the thing of each mention.
    """
    at, most = (
        {name: number for number, name in enumerate(names)},
        max((len(name.split()) for name in names), default=1),
    )
    pairs = []
    for number, caption in enumerate(captions):
        words = _WORD.findall(caption.lower())
        found = set()
        for start in range(len(words)):
            for length in range(1, most + 1):
                *before, head = words[start : start + length] or [""]
                for form in {head, singular(head)}:
                    found.add(at.get(" ".join([*before, form])))
        pairs += [(number, thing) for thing in sorted(found - {None})]
    found = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def spacevlm(wanted: torch.Tensor, unwanted: torch.Tensor, threshold: float = THRESHOLD) -> torch.Tensor:
    """
    Embed queries by the rule of SpaceVLM (arXiv 2511.12331), for comparison: the centre of the region near the wanted
    and far from the unwanted text.

    With α = arccos t, θ the angle between a and n, and δ = α + θ/2: cos δ · n + sin δ / sin θ · (a - (a·n) n).

    Args:
        wanted, unwanted: float, (n, d), unit rows a and n.
        threshold: t; the published value for CLIP is 0.92.

    Returns:
        (n, d), unit rows.
    """
    cosine = (wanted * unwanted).sum(dim=1, keepdim=True).clamp(-1, 1)
    angle = cosine.arccos()
    turned = torch.tensor(threshold).arccos() + angle / 2
    aside = F.normalize(wanted - cosine * unwanted, dim=1)
    return F.normalize(turned.cos() * unwanted + turned.sin() * aside, dim=1)
