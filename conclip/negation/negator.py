"""
The Python interface: negations of a list of captions, or of batches of a dataset.

`conclip negate` runs the same code.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from conclip.errors import UsageError
from conclip.negation.grammar.generator import GrammarGenerator
from conclip.negation.grammar.parsing import object_nouns, parse
from conclip.negation.lexicon.absent import AbsentNouns
from conclip.negation.lexicon.counts import NameCounts, PairCounts
from conclip.negation.rows import NEGATION_TYPE_CHOICES, Result, as_columns, make_row

# Captions that spaCy takes at a time: for speed, the parse of a caption does not depend on those beside it.
BATCH = 512


def parse_captions(generator, captions: Sequence[str]) -> list:
    """Return the spaCy `Doc` of each caption."""
    return list(generator.nlp.pipe(captions, batch_size=BATCH))


def name_objects(docs: Iterable) -> list[list[str]]:
    """Return the objects that each caption names, singular: what absent nouns are counted over."""
    return [object_nouns(parse(doc)) for doc in docs]


def negate_docs(
    generator,
    docs: Sequence,
    objects: Sequence[Sequence[str]],
    numbers: Sequence[int],
    image_texts: Sequence[tuple[Sequence[str], Sequence[str]]],
    absent_nouns: AbsentNouns,
) -> Iterator[tuple[dict, Result]]:
    """
    Negate parsed captions.

    Args:
        generator: a `GrammarGenerator` or `LanguageModelGenerator`.
        objects: what each caption names, as `name_objects` gives it.
        numbers: number of each caption in its dataset; with the seed it decides all random choices.
        image_texts: for each caption all captions of its image, and the labels of objects in it.
        absent_nouns: what absent nouns are sampled from.

    Yields:
        The text columns of each row, and the result that they were made of.
    """
    needs_absent = not generator.negation_types.isdisjoint(("true", "hybrid"))

    def items():
        for number, doc, names, (captions, labels) in zip(numbers, docs, objects, image_texts, strict=True):
            nouns = absent_nouns.sample(names, captions, labels, generator.seed, number) if needs_absent else ()
            yield parse(doc), number, nouns

    for doc, names, result in zip(docs, objects, generator.negate_all(items()), strict=True):
        yield make_row(doc.text, result, names), result


class CaptionNegator:
    """
    Negate batches of captions: a function for `Dataset.map`. `conclip.negation.engines` runs it in Ray and Spark.

        negator = CaptionNegator.fit(dataset["caption"])
        dataset = dataset.map(negator, batched=True, with_indices=True, batch_size=512, num_proc=4)

    Adds the text columns that `conclip negate` writes: negated_captions, true_negations, true_negation_foils,
    hard_negatives and their records. A row from which nothing can be made has empty lists; `conclip negate` skips it.
    Rows depend on the seed, their index, their caption and the absent nouns, not on the batch that they are in.

    A pickled negator holds the counts of the absent nouns, about a megabyte, and not spaCy's model. Each process loads
    the model when it negates its first batch, and keeps it.

    Args:
        absent_nouns (`AbsentNouns`, *optional*): what absent objects are sampled from. `fit` counts them over
            captions; without them there are no true negations and no hybrids.
        negation_types (`Sequence[str]`): any of "false", "true", "hybrid" and "swap".
        strategy (`str`): what is negated: "random", or "object", "attribute", "relation" or "verb" where possible.
        seed (`int`): of all random choices.
        caption_column (`str`): the column of captions, one text in each row.
        index_column (`str`, *optional*): the column of the rows' indices, integers of at least 0, where the batches
            come without indices.
        generator (*optional*): writes the sentences in place of a `GrammarGenerator`, e.g. a `LanguageModelGenerator`;
            its own types, strategy and seed hold.
    """

    def __init__(
        self,
        absent_nouns: AbsentNouns | None = None,
        *,
        negation_types: Sequence[str] = NEGATION_TYPE_CHOICES,
        strategy: str = "random",
        seed: int = 0,
        caption_column: str = "caption",
        index_column: str | None = None,
        generator=None,
    ):
        self.absent_nouns = absent_nouns or AbsentNouns([], (), ())
        self.generator = generator or GrammarGenerator(seed, strategy, negation_types, batch_size=BATCH)
        self.caption_column, self.index_column = caption_column, index_column

    @classmethod
    def fit(cls, captions: Iterable[str], **options) -> "CaptionNegator":
        """
        Count the absent nouns over captions, one for each image.

        Args:
            options: as for `CaptionNegator`.
        """
        negator = cls(**options)
        captions = list(captions)
        objects = name_objects(parse_texts(negator.generator, captions, range(len(captions))))
        negator.absent_nouns = _count_absent(captions, objects)
        return negator

    def __call__(self, batch: dict[str, list], indices: Sequence[int] | None = None) -> dict[str, list]:
        """
        Return the new columns of a batch.

        Args:
            batch: columns; lists or arrays.
            indices: of the rows; by default those of `index_column`.

        Raises:
            UsageError: no indices, an index that is no integer of at least 0, or a caption that is no text.
        """
        if indices is None:
            if self.index_column is None:
                raise UsageError(
                    "a row's negations depend on its index: call Dataset.map with with_indices=True, or name the "
                    "index_column of CaptionNegator."
                )
            indices = check_indices(batch[self.index_column], self.index_column)
        captions = list(batch[self.caption_column])
        docs = parse_texts(self.generator, captions, indices)
        rows = self._rows(docs, name_objects(docs), captions, indices)
        return as_columns(rows, [name for name in rows[0] if name != "caption"]) if rows else {}

    def _rows(self, docs, objects, captions, numbers) -> list[dict]:
        image_texts = [([caption], []) for caption in captions]
        return [row for row, _ in negate_docs(self.generator, docs, objects, numbers, image_texts, self.absent_nouns)]


def check_indices(values: Sequence, column: str) -> list[int]:
    """
    Return the indices of a batch.

    Raises:
        UsageError: a value is no integer of at least 0.
    """
    for value in values:
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 0:
            raise UsageError(f"column {column!r} holds {value!r}; an index has to be an integer of at least 0.")
    return [int(value) for value in values]


def parse_texts(generator, captions: Sequence[str], numbers: Sequence[int]) -> list:
    """
    Return the spaCy `Doc` of each caption; the numbers are for messages.

    Raises:
        UsageError: a caption is no text, is empty, or is one that spaCy cannot encode.
    """
    for number, caption in zip(numbers, captions, strict=True):
        if not isinstance(caption, str) or not caption.strip():
            raise UsageError(f"caption {number} is {caption!r}; it has to be a text, one in each row.")
        if re.search("[\ud800-\udfff]", caption):
            raise UsageError(
                f"caption {number} is {caption!r}; it holds half of a character (a lone surrogate): remove it."
            )
    return parse_captions(generator, captions)


def count_pairs(
    names: NameCounts, captions: Sequence[str], objects: Sequence[Sequence[str]], numbers: Sequence[int]
) -> PairCounts:
    """Count the pairs of names in captions, one for each image."""
    rows = zip(numbers, objects, (([caption], []) for caption in captions), strict=True)
    return PairCounts.count(names, rows)


def _count_absent(captions: Sequence[str], objects: Sequence[Sequence[str]]) -> AbsentNouns:
    names = NameCounts.count(objects).commonest()
    return AbsentNouns.of_counts(count_pairs(names, captions, objects, range(len(captions))))


def negate_captions(
    captions: Sequence[str],
    *,
    negation_types: Sequence[str] = NEGATION_TYPE_CHOICES,
    strategy: str = "random",
    seed: int = 0,
    absent_nouns: AbsentNouns | None = None,
    generator=None,
) -> list[dict]:
    """
    Negate captions.

        for row in negate_captions(["A man rides a horse on the beach.", "A dog with a ball"]):
            print(row["caption"], row["negated_captions"], row["true_negations"])

    Args:
        captions: one for each image.
        absent_nouns: what absent objects are sampled from; by default they are counted over `captions`, so that true
            negations need captions that name different things.
        negation_types, strategy, seed, generator: as for `CaptionNegator`.

    Returns:
        A row for each caption, with the text columns that `conclip negate` writes. A caption from which nothing can be
        made has empty lists.

    Raises:
        UsageError: a caption that is no text.
    """
    negator = CaptionNegator(
        absent_nouns, negation_types=negation_types, strategy=strategy, seed=seed, generator=generator
    )
    captions = list(captions)
    docs = parse_texts(negator.generator, captions, range(len(captions)))
    objects = name_objects(docs)
    if absent_nouns is None:
        negator.absent_nouns = _count_absent(captions, objects)
    return negator._rows(docs, objects, captions, range(len(captions)))
