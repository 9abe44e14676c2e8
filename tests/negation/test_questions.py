"""Multiple-choice questions from captions, and the fit of query arithmetic on them."""

import numpy as np
import pytest
import torch

from conclip.errors import UsageError
from conclip.negation import parse_query
from conclip.negation.arithmetic import QueryArithmetic
from conclip.negation.fit import fit_query_arithmetic
from conclip.negation.questions import QUESTION_KINDS, make_questions

SHOWN = [{"dog", "bench"}, {"cat", "ball"}, {"dog", "ball"}, {"cat", "bench"}, {"horse", "fence"}, {"horse", "bench"}]
CAPTIONS = [[f"A {' near a '.join(sorted(names))}.", "An outdoor scene."] for names in SHOWN]
CAPTIONS[4].append("A cyclist passes the fence.")
CAPTIONS += [["A bike."], ["A bike."]]
SHOWN += [{"bike"}, {"bike"}]


def things_of(text):
    query = parse_query(text)
    names = {name for names in SHOWN for name in names}

    def found(part):
        return {name for name in names if name in part.lower()}

    return found(query.wanted) if query.wanted else set(), set().union(*map(found, query.unwanted))


def test_the_first_text_alone_is_true():
    kinds = set()
    for seed in range(5):
        for question in make_questions(CAPTIONS, seed=seed):
            wanted, unwanted = zip(*map(things_of, question.texts), strict=True)
            holds = [
                want <= SHOWN[question.image] and not deny & SHOWN[question.image]
                for want, deny in zip(wanted, unwanted, strict=True)
            ]
            assert holds == [True, False, False, False], question
            shape = [(len(want), len(deny)) for want, deny in zip(wanted, unwanted, strict=True)]
            true = {"presence": (2, 0), "absence": (0, 1), "hybrid": (1, 1)}[question.kind]
            assert shape == [true, (1, 1), (1, 0), (0, 1)], question
            assert wanted[1] == wanted[2] and unwanted[1] == unwanted[3]
            if question.image == 4:
                # A cyclist has one, though no caption says so.
                assert "bike" not in wanted[1]
            kinds.add(question.kind)
    assert kinds == {*QUESTION_KINDS}


def test_same_seed_same_questions_and_at_most_as_many_as_asked():
    assert make_questions(CAPTIONS, 7, seed=1) == make_questions(CAPTIONS, 7, seed=1)
    assert make_questions(CAPTIONS, 7, seed=1) != make_questions(CAPTIONS, 7, seed=2)
    assert len(make_questions(CAPTIONS, 7)) == 7
    assert make_questions([["A dog."], ["Something."]]) == []


def embed(texts):
    rows = [np.random.default_rng(sum(text.encode()) + len(text)).normal(size=12) + 1 for text in texts]
    return torch.tensor(np.array(rows), dtype=torch.float32)


def test_fit_takes_the_best_of_the_grid():
    images = torch.tensor(np.random.default_rng(0).normal(size=(len(CAPTIONS), 12)) + 1, dtype=torch.float32)
    grid = [0.3, 1.0], [0.0, 1.0]
    fit = fit_query_arithmetic(embed, images, CAPTIONS, *grid, seed=3)
    questions, found = make_questions(CAPTIONS, seed=3), {}
    for beta in grid[0]:
        for weight in grid[1]:
            right = {kind: [] for kind in QUESTION_KINDS}
            for question in questions:
                scores = QueryArithmetic(embed, beta, weight)(list(question.texts)) @ images[question.image]
                right[question.kind].append(bool((scores[0] > scores[1:]).all()))
            found[beta, weight] = {kind: np.mean(own) for kind, own in right.items()}
    assert fit.count == len(questions)
    assert {pair: pytest.approx(own) for pair, own in found.items()} == fit.accuracies
    means = {pair: np.mean(list(own.values())) for pair, own in found.items()}
    assert len(set(means.values())) > 1 and means[fit.beta, fit.anchor_weight] == max(means.values())


def test_fit_refuses():
    with pytest.raises(UsageError, match="1 images, but captions of 8"):
        fit_query_arithmetic(embed, torch.ones(1, 12), CAPTIONS)
    with pytest.raises(UsageError, match="name too few things"):
        fit_query_arithmetic(embed, torch.ones(1, 12), [["Something."]])
