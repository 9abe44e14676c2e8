"""The loss as pure functions: closed forms, an independent numpy computation, gradients, symmetries, ablations."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn import functional as F

from modeling_conclip import loss_conclip
from modeling_conclip.loss_conclip import (
    conclip_terms,
    contrastive_loss,
    distillation_terms,
    gather_across_processes,
    l2_normalize,
    mean_over_processes,
    mean_over_texts_of_all_processes,
    similarity,
    truth_loss,
    weighted_mean,
)

NAMES = ("images", "captions", "negated", "distractors")
SCALE = torch.tensor(7.0, dtype=torch.float64)


def embeddings(rows=5, width=8, seed=0, dtype=torch.float64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype) for name in NAMES}


def terms(images, captions, negated=None, distractors=None, scale=SCALE):
    unit = [None if rows is None else l2_normalize(rows) for rows in (images, captions, negated, distractors)]
    return conclip_terms(unit[0], unit[1], scale, unit[2], unit[3])


def numpy_cross_entropy(queries, keys, scale):
    """Minus the log of the softmax at the index of the row, row by row in float64."""
    total = 0.0
    for index, query in enumerate(queries):
        cosines = [query @ key / math.sqrt((query @ query) * (key @ key)) for key in keys]
        total -= math.log(math.exp(scale * cosines[index]) / sum(math.exp(scale * cosine) for cosine in cosines))
    return total / len(queries)


def numpy_terms(images, captions, negated, distractors, scale):
    return (
        numpy_cross_entropy(images, np.concatenate([captions, negated]), scale),
        numpy_cross_entropy(captions, np.concatenate([images, distractors]), scale),
        numpy_cross_entropy(distractors, np.concatenate([negated, captions]), scale),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_terms_equal_an_independent_numpy_computation(dtype):
    rows = embeddings(rows=6, width=16, dtype=dtype)
    expected = numpy_terms(*(rows[name].double().numpy() for name in NAMES), scale=7.0)
    actual = terms(**rows, scale=SCALE.to(dtype))
    assert all(term.dtype == dtype for term in actual)
    assert_allclose([term.item() for term in actual], expected, rtol=0, atol=1e-6)
    assert min(abs(a - b) for a, b in itertools.combinations(expected, 2)) > 1e-2  # else a mix-up would go unseen


@pytest.mark.parametrize("size", [1, 2, 7])
def test_equal_embeddings_give_the_log_of_the_columns(size):
    one = torch.ones(size, 4, dtype=torch.float64)
    assert_allclose(torch.stack(terms(one, one, one, one)), [math.log(2 * size)] * 3, atol=1e-12)
    l1, l2, l3 = terms(one, one, one)
    assert_allclose([l1, l2], [math.log(2 * size), math.log(size)], atol=1e-12)
    assert l3 is None
    assert_allclose(torch.stack(terms(one, one)[:2]), [math.log(size)] * 2, atol=1e-12)


def test_two_perpendicular_pairs_give_the_softplus():
    """I = c = e1, c' = I' = e2: each query scores s on its own key and 0 on the other."""
    first, second = torch.eye(2, dtype=torch.float64).unsqueeze(1)
    expected = math.log1p(math.exp(-7.0))
    assert_allclose(torch.stack(terms(first, first, second, second)), [expected] * 3, atol=1e-12)


def test_hardest_negation_gives_log_two_or_more():
    """A negated caption with the embedding of its caption cannot be distinguished."""
    rows = embeddings(rows=1)
    l1, _, _ = terms(rows["images"], rows["captions"], rows["captions"])
    assert_allclose(l1, math.log(2), atol=1e-12)


def test_gradients_of_all_inputs():
    rows = [tensor[:3, :4].clone().requires_grad_() for tensor in embeddings().values()]
    scale = SCALE.clone().requires_grad_()

    def each_term(images, captions, negated, distractors, scale):
        return terms(images, captions, negated, distractors, scale)

    assert torch.autograd.gradcheck(each_term, (*rows, scale))
    assert torch.autograd.gradcheck(lambda *inputs: weighted_mean(each_term(*inputs), (0.5, 2.0, 3.0)), (*rows, scale))


def test_permutation_of_the_batch_changes_nothing():
    rows = embeddings()
    order = torch.tensor([3, 0, 4, 1, 2])
    permuted = {name: tensor[order] for name, tensor in rows.items()}
    assert_allclose(torch.stack(terms(**permuted)), torch.stack(terms(**rows)), rtol=1e-12)
    one_moved = {**rows, "captions": rows["captions"][order]}
    assert not np.allclose(torch.stack(terms(**one_moved)), torch.stack(terms(**rows)), rtol=1e-3)


def test_length_of_embeddings_does_not_matter():
    rows = embeddings()
    longer = {name: tensor * factor for (name, tensor), factor in zip(rows.items(), (3, 0.1, 20, 5), strict=True)}
    assert_allclose(torch.stack(terms(**longer)), torch.stack(terms(**rows)), rtol=1e-12)


def test_swapping_true_and_false_swaps_l1_and_l3():
    rows = embeddings()
    l1, l2, l3 = terms(**rows)
    swapped = terms(rows["distractors"], rows["negated"], rows["captions"], rows["images"])
    assert_allclose([swapped[0], swapped[2]], [l3, l1], rtol=1e-12)
    assert abs(swapped[1] - l2) > 1e-2  # c' -> [I'; I] is no term of the loss
    assert abs(l1 - l3) > 1e-2


def test_swapping_images_and_texts_swaps_the_terms_of_clip():
    rows = embeddings()
    l1, l2, _ = terms(rows["images"], rows["captions"])
    assert_allclose(terms(rows["captions"], rows["images"])[:2], [l2, l1], rtol=1e-12)


def test_each_term_depends_on_what_its_formula_names():
    """Which of I, c, c', I' each term reads, and that L2 alone ignores c'."""
    rows = {name: tensor.requires_grad_() for name, tensor in embeddings().items()}
    reads = {}
    for index, term in enumerate(terms(**rows), start=1):
        gradients = torch.autograd.grad(term, list(rows.values()), allow_unused=True, retain_graph=True)
        reads[index] = {name for name, gradient in zip(NAMES, gradients, strict=True) if gradient is not None}
    assert reads == {
        1: {"images", "captions", "negated"},
        2: {"captions", "images", "distractors"},
        3: {"distractors", "negated", "captions"},
    }


PULLS = [
    ("images", "captions", "negated"),
    ("captions", "images", "distractors"),
    ("distractors", "negated", "captions"),
]


@pytest.mark.parametrize("index", range(3))
def test_each_term_pulls_in_the_right_direction(index):
    """A step against the gradient brings the query nearer to its key and away from its extra negative."""
    rows = {name: l2_normalize(tensor) for name, tensor in embeddings(rows=1).items()}
    query, key, negative = PULLS[index]
    moved = rows[query].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(terms(**{**rows, query: moved})[index], moved)
    assert ((rows[key] - rows[negative]) * gradient).sum() < 0


def test_extra_negatives_only_add_to_the_loss():
    rows = embeddings()
    plain = contrastive_loss(*(l2_normalize(rows[name]) for name in ("images", "captions")), SCALE)
    assert_allclose(plain, numpy_cross_entropy(rows["images"].numpy(), rows["captions"].numpy(), 7.0), atol=1e-6)
    assert terms(**rows)[0] > plain + 1e-2


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((1, 1, 1), 7 / 3),
        ((1, 0, 0), 1.0),
        ((0, 1, 0), 2.0),
        ((0, 0, 1), 4.0),
        ((1, 1, 0), 1.5),
        ((3, 1, 0), 1.25),
        ((2, 2, 4), 22 / 8),
        ((0.1, 0.1, 0.1), 7 / 3),
    ],
)
def test_weighted_mean(weights, expected):
    assert_allclose(weighted_mean(tuple(torch.tensor([1.0, 2.0, 4.0])), weights), expected, rtol=1e-6)


@pytest.mark.parametrize(("weights", "expected"), [((1, 1, 1), 1.5), ((1, 3, 5), 1.75), ((0, 1, 9), 2.0)])
def test_weighted_mean_leaves_out_a_term_that_does_not_exist(weights, expected):
    assert_allclose(weighted_mean((torch.tensor(1.0), torch.tensor(2.0), None), weights), expected, rtol=1e-6)


def test_weighted_mean_without_a_term_that_counts():
    with pytest.raises(ValueError, match="distractor"):
        weighted_mean((torch.tensor(1.0), torch.tensor(2.0), None), (0, -1, 1))
    with pytest.raises(ValueError):
        weighted_mean((torch.tensor(1.0), torch.tensor(2.0)), (1, 1, 1))


@pytest.mark.parametrize("dead", range(3))
def test_a_term_of_weight_zero_gets_no_gradient(dead):
    """Not even NaN in that term changes the loss."""
    leaves = [torch.tensor(float(index + 1), requires_grad=True) for index in range(3)]
    values = [leaf * (math.nan if index == dead else 1.0) for index, leaf in enumerate(leaves)]
    loss = weighted_mean(tuple(values), tuple(0.0 if index == dead else 1.0 for index in range(3)))
    loss.backward()
    assert torch.isfinite(loss)
    assert leaves[dead].grad is None
    assert all(leaf.grad == 0.5 for index, leaf in enumerate(leaves) if index != dead)


def test_autocast_changes_neither_logits_nor_loss():
    rows = [l2_normalize(tensor) for tensor in embeddings(width=64, dtype=torch.float32).values()]
    images, captions, negated, distractors = rows
    scale = torch.tensor(100.0)
    plain = similarity(images, captions, scale), *conclip_terms(images, captions, scale, negated, distractors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (images @ captions.T).dtype == torch.bfloat16
        cast = similarity(images, captions, scale), *conclip_terms(images, captions, scale, negated, distractors)
        assert l2_normalize(images.bfloat16()).dtype == torch.float32
    for one, other in zip(plain, cast, strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_normalisation_is_done_in_float32(dtype):
    """In float16 the square of 300 is infinite; in bfloat16 a unit row has three digits."""
    rows = (300 * embeddings(width=64)["images"]).to(dtype)
    unit = l2_normalize(rows)
    assert unit.dtype == torch.float32
    assert_allclose(unit.norm(dim=-1), 1.0, rtol=1e-6)


def test_rows_of_one_process_against_the_keys_of_all():
    """The mean over the parts is the loss of the whole; the keys before `first` belong to other processes."""
    images, captions = (l2_normalize(embeddings(rows=6)[name]) for name in ("images", "captions"))
    whole = contrastive_loss(images, captions, SCALE)
    parts = [contrastive_loss(images[first : first + 2], captions, SCALE, first) for first in range(0, len(images), 2)]
    assert_allclose(sum(parts) / len(parts), whole, rtol=1e-12)


def test_gather_in_one_process_returns_what_it_gets():
    rows = embeddings()
    gathered, first = gather_across_processes(rows["images"], None, rows["negated"])
    assert first == 0
    assert gathered[0] is rows["images"] and gathered[1] is None and gathered[2] is rows["negated"]


def test_means_over_one_process_are_its_own():
    value, other = torch.tensor(2.0), torch.tensor(3.0)
    mean, none, mean_other = mean_over_processes(value, None, other)
    assert mean is value and none is None and mean_other is other
    mean, mean_other = mean_over_texts_of_all_processes(4, value, other)
    assert mean is value and mean_other is other


def distilled(rows=6, width=8, views=11) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit embeddings, targets and views, float64."""
    generator = torch.Generator().manual_seed(1)
    sizes = (rows, rows, views)
    return tuple(l2_normalize(torch.randn(size, width, generator=generator, dtype=torch.float64)) for size in sizes)


def test_distillation_terms_are_the_cosine_and_the_mean_square_of_score_differences():
    embeds, targets, views = (rows.numpy() for rows in distilled())
    cosines = [1 - sum(a * b for a, b in zip(e, g, strict=True)) for e, g in zip(embeds, targets, strict=True)]
    squares = [(7.0 * (e @ v) - 7.0 * (g @ v)) ** 2 for e, g in zip(embeds, targets, strict=True) for v in views]
    second_moment = sum(np.outer(v, v) for v in views) / len(views)
    actual = distillation_terms(*map(torch.from_numpy, (embeds, targets, second_moment)), SCALE)
    assert_allclose([term.item() for term in actual], [np.mean(cosines), np.mean(squares)], rtol=1e-12)
    assert abs(np.mean(cosines) - np.mean(squares)) > 1e-2


def test_distillation_of_one_text():
    """e = e1 and g = e2: their cosine is 0, and (1, -1) C (1, -1)ᵀ is 2 by C = 1."""
    embeds, targets = torch.eye(2, dtype=torch.float64).split(1)
    terms = distillation_terms(embeds, targets, torch.eye(2, dtype=torch.float64), SCALE)
    assert [term.item() for term in terms] == [1, 49 * 2]


def test_distillation_terms_are_zero_at_the_targets_and_larger_elsewhere():
    embeds, _, views = distilled()
    moment = views.T @ views / len(views)
    assert [term.item() for term in distillation_terms(embeds, embeds.clone(), moment, SCALE)] == [0, 0]
    assert all(term.item() > 0.1 for term in distillation_terms(embeds, -embeds, moment, SCALE))


def test_gradients_of_distillation():
    embeds, targets, views = distilled()
    moment, scale = views.T @ views / len(views), SCALE.clone().requires_grad_()
    embeds.requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: distillation_terms(rows, targets, moment, SCALE), embeds)
    sum(distillation_terms(embeds, targets, moment, scale)).backward()
    # By hand: d/de of |e - g|² / 2 and of s² (e - g)ᵀ C (e - g), each a mean over rows.
    difference = (embeds - targets).detach()
    expected = (difference + 2 * 49 * difference @ moment) / len(embeds)
    torch.testing.assert_close(embeds.grad, expected, rtol=1e-12, atol=1e-12)
    assert scale.grad is None


def test_distillation_is_computed_in_float32_under_autocast():
    embeds, targets, views = (rows.float() for rows in distilled())
    moment = views.T @ views / len(views)
    expected = distillation_terms(embeds, targets, moment, SCALE.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert distillation_terms(embeds, targets, moment, SCALE.float()) == expected


def known_truth(rows=6, images=11) -> torch.Tensor:
    """How likely texts are true of images; the first is true of hardly any, the second false of hardly any."""
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(rows, images, generator=generator, dtype=torch.float64)
    truth[0], truth[1] = 0.01 * truth[0], 1 - 0.01 * truth[1]
    return truth


def test_truth_loss_is_a_mean_over_true_and_one_over_false_images():
    embeds, _, images = (rows.numpy() for rows in distilled())
    truth = known_truth().numpy()
    losses = []
    for e, likely in zip(embeds, truth, strict=True):
        true = sum(t * math.log1p(math.exp(-7.0 * (e @ v))) for t, v in zip(likely, images, strict=True))
        false = sum((1 - t) * math.log1p(math.exp(7.0 * (e @ v))) for t, v in zip(likely, images, strict=True))
        losses.append((true / max(1, sum(likely)) + false / max(1, sum(1 - likely))) / 2)
    actual = truth_loss(*map(torch.from_numpy, (embeds, images, truth)), SCALE)
    assert_allclose(actual, np.mean(losses), rtol=1e-12)


def test_truth_loss_at_scores_of_zero_is_log_two_and_without_texts_zero():
    embeds, images = torch.eye(4, dtype=torch.float64)[:2], torch.eye(4, dtype=torch.float64)[2:]
    assert_allclose(truth_loss(embeds, images, torch.eye(2, dtype=torch.float64), SCALE), math.log(2), rtol=1e-12)
    assert_allclose(truth_loss(embeds[:1], images, torch.eye(2).double()[:1], SCALE), math.log(2), rtol=1e-12)
    assert truth_loss(embeds[:0], images, torch.ones(0, 2, dtype=torch.float64), SCALE) == 0


def test_gradients_of_the_truth_loss():
    embeds, _, images = distilled()
    scale = SCALE.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda rows, scale: truth_loss(rows, images, known_truth(), scale), (embeds.requires_grad_(), scale)
    )


def test_distillation_without_texts_is_zero():
    embeds, targets, views = distilled()
    assert [term.item() for term in distillation_terms(embeds[:0], targets[:0], views.T @ views, SCALE)] == [0, 0]


@pytest.fixture
def similarity_seen(monkeypatch):
    """The number of queries in each computation of logits, of which 25 are computed at a time."""
    seen, plain = [], loss_conclip.similarity

    def similarity_seen_(queries, keys, scale):
        seen.append(len(queries))
        return plain(queries, keys, scale)

    monkeypatch.setattr(loss_conclip, "similarity", similarity_seen_)
    monkeypatch.setattr(loss_conclip, "LOGITS_AT_A_TIME", 25)
    return seen


def test_logits_are_computed_a_few_rows_at_a_time(similarity_seen):
    generator = torch.Generator().manual_seed(0)
    queries, keys = (l2_normalize(torch.randn(n, 3, generator=generator)) for n in (5, 12))
    loss = contrastive_loss(queries.requires_grad_(), keys, torch.tensor(9.0), first=4)
    # 25 // 12 rows.
    assert similarity_seen == [2, 2, 1]
    logits = (9 * queries @ keys.T).tolist()
    by_hand = [math.log(sum(map(math.exp, row))) - row[4 + at] for at, row in enumerate(logits)]
    assert loss.item() == pytest.approx(sum(by_hand) / 5, rel=1e-5) and loss.item() > 1
    plain = F.cross_entropy(9 * queries @ keys.T, torch.arange(4, 9))
    (expected,), (found,) = (torch.autograd.grad(one, queries) for one in (plain, loss))
    torch.testing.assert_close(found, expected)
    assert sorted(similarity_seen) == sorted(2 * [2, 2, 1])


def test_one_row_of_logits_is_computed_at_a_time_if_keys_are_many(similarity_seen):
    embeds = torch.eye(26)
    loss = contrastive_loss(embeds[:3], embeds, torch.tensor(9.0))
    assert similarity_seen == [1, 1, 1] and loss.item() == pytest.approx(math.log(math.exp(9) + 25) - 9, abs=1e-6)


@pytest.mark.parametrize("rows", [1, 2])
def test_logits_that_fit_are_computed_once(similarity_seen, rows):
    embeds = torch.eye(12)
    contrastive_loss(embeds[:rows].clone().requires_grad_(), embeds, torch.tensor(9.0)).backward()
    assert similarity_seen == [rows]


def test_as_many_logits_are_computed_at_a_time_as_take_16_mb():
    assert 4 * loss_conclip.LOGITS_AT_A_TIME == 16 * 2**20  # bytes in float32


# Two names of one function: since torch 2.13, and before.
@pytest.fixture(params=["all_gather_single", "all_gather_into_tensor"])
def fourth_of_five(monkeypatch, request):
    """Rank 3 of 5. The others give rows of 5, 6, 7 and 8, and together they add `other` to what is reduced."""
    other = []

    def gather(out, rows):
        count = len(rows)
        assert out.shape == (5 * count, *rows.shape[1:]) and out.dtype == rows.dtype
        for part, value in zip(out.split(count), (5, 6, 7, rows, 8), strict=True):
            part[:] = value

    functions = {
        "is_initialized": lambda: True,
        "get_world_size": lambda: 5,
        "get_rank": lambda: 3,
        request.param: gather,
        "all_reduce": lambda values: values.add_(other.pop(0)),
    }
    for name in ("all_gather_single", "all_gather_into_tensor"):
        monkeypatch.delattr(torch.distributed, name, raising=False)
    for name, function in functions.items():
        monkeypatch.setattr(torch.distributed, name, function, raising=False)
    return other


def test_rows_of_five_processes_by_hand(fourth_of_five):
    rows, more = (torch.full((2, 4), value, requires_grad=True) for value in (1.0, 2.0))
    (joint, none, joint_more), first = gather_across_processes(rows, None, more)
    assert first == 6 and none is None
    assert joint[:, 0].tolist() == [5, 5, 6, 6, 7, 7, 1, 1, 8, 8] and joint_more[5:, 0].tolist() == [7, 2, 2, 8, 8]
    fourth_of_five.append(10.0)
    (joint[:, 0] * torch.arange(10.0)).sum().backward()
    assert gather_across_processes(more)[1] == 6
    # The own weights 6 and 7, and what the other processes have added.
    assert rows.grad[:, 0].tolist() == [16, 17]
    fourth_of_five.append(torch.tensor([9.0, 7.0]))
    value, other = torch.tensor(1.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    mean, none, mean_other = mean_over_processes(value, None, other)
    assert (mean.item(), none, mean_other.item()) == (2, None, 2)
    (2 * mean + mean_other).backward()
    assert (value.grad.item(), other.grad.item()) == (2, 1)


def test_a_mean_over_unequal_numbers_of_texts_by_hand(fourth_of_five):
    # The others have 5 texts of mean 2 together, this one 3 of mean 6: (3 * 6 + 5 * 2) / 8 in all.
    fourth_of_five += [5.0, torch.tensor([5 * 2 / 8 * 5.0])]
    value = torch.tensor(6.0, requires_grad=True)
    (mean,) = mean_over_texts_of_all_processes(3, value)
    mean.backward()
    assert mean.item() == 3.5 and value.grad.item() == pytest.approx(3 / 8 * 5)
    # One text in all, which is of another process: its mean of 4.
    fourth_of_five += [1.0, torch.tensor([4 * 5.0])]
    assert mean_over_texts_of_all_processes(0, torch.tensor(0.0))[0].item() == 4
    # One text in all, which is this one's.
    fourth_of_five += [0.0, torch.tensor([0.0])]
    assert mean_over_texts_of_all_processes(1, torch.tensor(4.0))[0].item() == 4
    # No texts anywhere.
    fourth_of_five += [0.0, torch.tensor([0.0])]
    assert mean_over_texts_of_all_processes(0, torch.tensor(0.0))[0].item() == 0


def test_terms_across_five_processes_by_hand(fourth_of_five):
    """All rows are the unit vector e1; the columns of the other processes score 5, 6, 7 and 8."""
    fourth_of_five.append(torch.zeros(3))
    rows = torch.eye(2)[:1]
    terms = conclip_terms(rows, rows, torch.tensor(1.0), rows, rows, across_processes=True)
    # The logits are 5, 6, 7, 1, 8, 5, 6, 7, 1, 8, of which the fourth is right; the mean is over 5 processes.
    expected = (math.log(2 * sum(map(math.exp, (5, 6, 7, 1, 8)))) - 1) / 5
    assert [term.item() for term in terms] == pytest.approx([expected] * 3, rel=1e-6)
    # Of its own rows alone, if it is not asked for those of the others.
    assert [term.item() for term in conclip_terms(rows, rows, torch.tensor(1.0), rows, rows)] == pytest.approx(
        [math.log(2)] * 3
    )
