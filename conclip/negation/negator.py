"""The Python interface: negations of a list of captions, or by `Dataset.map`. `conclip negate` runs the same code."""

import re
from collections.abc import Iterable, Iterator, Sequence

from conclip.errors import UsageError
from conclip.negation.grammar.generator import GrammarGenerator
from conclip.negation.grammar.parsing import object_nouns, parse
from conclip.negation.lexicon.absent import AbsentNouns
from conclip.negation.rows import NEGATION_TYPE_CHOICES, Result, as_columns, make_row

# Captions that spaCy takes at a time. A parse may depend on the captions beside it in the last bits of a score, so
# that equal batches are what makes rows equal however many processes share the work.
BATCH = 512
# Captions on which the frequencies of absent nouns are fitted, evenly spread.
FITTED = 4_096


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
    Negate batches of captions: a function for `Dataset.map`.

        negator = CaptionNegator.fit(dataset["caption"])
        dataset = dataset.map(negator, batched=True, with_indices=True, batch_size=512, num_proc=4)

    Adds the text columns that `conclip negate` writes: negated_captions, true_negations, true_negation_foils,
    hard_negatives and their records. A row of which nothing can be made has empty lists; `conclip negate` skips it.
    Rows depend on the seed, their index, their caption and the absent nouns.

    Args:
        absent_nouns (`AbsentNouns`, *optional*): what absent objects are sampled from. `fit` counts them over
            captions; without them there are no true negations and no hybrids.
        negation_types (`Sequence[str]`): any of "false", "true", "hybrid" and "swap".
        strategy (`str`): what is negated: "random", or "object", "attribute", "relation" or "verb" where possible.
        seed (`int`): of all random choices.
        caption_column (`str`): the column of captions, one text in each row.
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
        generator=None,
    ):
        self.absent_nouns = absent_nouns or AbsentNouns([], (), ())
        self.generator = generator or GrammarGenerator(seed, strategy, negation_types, batch_size=BATCH)
        self.caption_column = caption_column

    @classmethod
    def fit(cls, captions: Iterable[str], **options) -> "CaptionNegator":
        """
        Count the absent nouns over captions, one for each image.

        Args:
            options: as for `CaptionNegator`.
        """
        negator = cls(**options)
        captions = list(captions)
        negator._fit(captions, name_objects(negator._parse(captions)))
        return negator

    def _fit(self, captions: list[str], objects: list[list[str]]) -> None:
        every = max(1, len(captions) // FITTED)
        sample = ((objects[n], [captions[n]], []) for n in range(0, len(captions), every))
        self.absent_nouns = AbsentNouns.count(lambda: objects)
        self.absent_nouns.fit(sample)

    def _parse(self, captions: list[str]) -> list:
        for number, caption in enumerate(captions):
            if not isinstance(caption, str) or not caption.strip():
                raise UsageError(f"caption {number} is {caption!r}; it has to be a text, one in each row.")
            if re.search("[\ud800-\udfff]", caption):
                # Which spaCy cannot encode.
                raise UsageError(f"caption {number} is {caption!r}; it holds half of a character (a lone surrogate).")
        return parse_captions(self.generator, captions)

    def __call__(self, batch: dict[str, list], indices: Sequence[int] | None = None) -> dict[str, list]:
        """
        Return the new columns of a batch.

        Raises:
            UsageError: no indices (`with_indices=True` gives them), or a caption that is no text.
        """
        if indices is None:
            raise UsageError("a row's negations depend on its index: call Dataset.map with with_indices=True.")
        captions = list(batch[self.caption_column])
        docs = self._parse(captions)
        rows = self._rows(docs, name_objects(docs), captions, indices)
        return as_columns(rows, [name for name in rows[0] if name != "caption"]) if rows else {}

    def _rows(self, docs, objects, captions, numbers) -> list[dict]:
        image_texts = [([caption], []) for caption in captions]
        return [row for row, _ in negate_docs(self.generator, docs, objects, numbers, image_texts, self.absent_nouns)]


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
        A row for each caption, with the text columns that `conclip negate` writes. A caption of which nothing can be
        made has empty lists.

    Raises:
        UsageError: a caption that is no text.
    """
    negator = CaptionNegator(
        absent_nouns, negation_types=negation_types, strategy=strategy, seed=seed, generator=generator
    )
    captions = list(captions)
    docs = negator._parse(captions)
    objects = name_objects(docs)
    if absent_nouns is None:
        negator._fit(captions, objects)
    return negator._rows(docs, objects, captions, range(len(captions)))
