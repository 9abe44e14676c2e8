"""
Multiple choice on the scenes: four statements, of which one is true.

The types of statement are those of NegBench (arXiv 2501.09425): *positive* affirms two objects, *absence* (NegBench's
"negative") denies one, *hybrid* affirms one and denies another. NegBench takes one false statement of each type, so
that the type that occurs twice is the right one. Here the text says nothing: in each set of statements, each of the
four is the true one equally often.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from dataset_scripts.benchmarks.files import encoded_image, texts
from dataset_scripts.benchmarks.schema import Probe, item
from dataset_scripts.scenes_truth import read_statement


@dataclass(frozen=True)
class Pattern:
    """What a statement affirms and denies: numbers of objects."""

    present: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()

    @property
    def type(self) -> str:
        return ("hybrid" if self.present else "absence") if self.absent else "positive"

    def is_true(self, present: set[int]) -> bool:
        return present.issuperset(self.present) and present.isdisjoint(self.absent)


# With five objects, of which two or three are present, each statement of a set can be the only true one; in the last
# set only with three. Each set has one type twice, and a third of the scenes have three objects, so that each type is
# the right one equally often.
TWO_POSITIVE = (Pattern((0, 1)), Pattern((0, 2)), Pattern((3,), (1,)), Pattern((), (0,)))
TWO_HYBRID = (Pattern((0, 1)), Pattern((2,), (1,)), Pattern((3,), (1,)), Pattern((), (0,)))
TWO_ABSENCE = (Pattern((0, 1)), Pattern((2,), (1,)), Pattern((), (0,)), Pattern((), (2,)))
SETS = {2: (TWO_POSITIVE, TWO_HYBRID), 3: (TWO_ABSENCE,)}
PROBE_ROWS = 4_000
OPENINGS = ("", "there is ", "a picture of ")
ABSENCES = ("no {}", "there is no {}", "a picture with no {}", "a picture without {}")


def choices(rows: Iterable[tuple[int, dict]], path: Path | str, seed: int = 0) -> Iterator[dict]:
    """Yield a question for each row, sampled with the seed; its category is the type of the true statement."""
    for index, row in rows:
        image, objects = encoded_image(row, "image", path, index), texts(row, "objects", path, index)
        statements, answer, category = question_of(index, objects, seed)
        yield item(index, [image], statements, answer=answer, category=category)


def question_of(index: int, objects: list[str], seed: int = 0) -> tuple[list[str], int, str]:
    """
    Return the question about a row of the test split, as `make_question`.

    Args:
        index: number of the row.
        objects: the column "objects" of the row, such as "small red star at the top left".
    """
    present = [tuple(reversed(text.split()[1:3])) for text in objects]
    return make_question(random.Random(f"{seed}-{index}"), present)


def make_question(rng: random.Random, present: list[tuple[str, str]]) -> tuple[list[str], int, str]:
    """
    Return four statements, the index of the true one, and its type.

    Args:
        present: shape and colour of each object of a scene of the test split, two or three.
    """
    from dataset_scripts.scenes import HELD_OUT, Mention, different_combinations

    patterns = list(rng.choice(SETS[len(present)]))
    rng.shuffle(patterns)
    answer = rng.randrange(len(patterns))
    objects = [*present, *different_combinations(rng, HELD_OUT, besides=present)]
    arrangements = list(permutations(range(len(objects))))
    rng.shuffle(arrangements)
    for arrangement in arrangements:
        # The number in the patterns of each object that is present.
        numbers = {arrangement.index(at) for at in range(len(present))}
        if [at for at, pattern in enumerate(patterns) if pattern.is_true(numbers)] == [answer]:
            break
    # A shape or a colour alone names an object too: no two of the objects share either.
    words = [rng.choice(((shape, colour),) * 3 + ((shape, ""), ("", colour))) for shape, colour in objects]
    nouns = [Mention(*words[at]).noun for at in arrangement]
    return [write(rng, pattern, nouns) for pattern in patterns], answer, patterns[answer].type


def write(rng: random.Random, pattern: Pattern, nouns: list[str]) -> str:
    """Return a statement in words."""
    from dataset_scripts.scenes import article

    present, absent = [article(nouns[at]) for at in pattern.present], [nouns[at] for at in pattern.absent]
    rng.shuffle(present)
    if pattern.type == "positive":
        return rng.choice(OPENINGS) + rng.choice((" and ", " with ")).join(present)
    form = rng.choice(
        ABSENCES if pattern.type == "absence" else ("but no {}", "and no {}", "with no {}", "without {}")
    )
    denial = form.format(article(absent[0]) if form.endswith("without {}") else absent[0])
    return rng.choice(OPENINGS) + f"{present[0]} {denial}" if present else denial


def claims(statement: str) -> list[tuple[list[str], bool]]:
    """Return the shape and colour of each object that a statement names, and whether it affirms it."""
    read = read_statement(statement)
    objects = [(own, True) for own in read.present] + ([(read.absent, False)] if read.absent else [])
    return [([word for word in (own.shape, own.colour) if word], affirmed) for own, affirmed in objects]


def labelled_images() -> Iterator[dict]:
    """Yield the first `PROBE_ROWS` scenes of the training split with the shapes and colours that they show."""
    from datasets import Image

    from dataset_scripts.scenes import load_scenes

    dataset = load_scenes("train").select_columns(["image", "objects"])
    dataset = dataset.select(range(min(PROBE_ROWS, len(dataset)))).cast_column("image", Image(decode=False))
    for index, row in enumerate(dataset):
        labels = [word for described in row["objects"] for word in described.split()[1:3]]
        yield item(index, [encoded_image(row, "image", "scenes, split train", index)], labels)


PROBE = Probe(labelled_images, claims)
