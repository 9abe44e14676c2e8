"""The language model's generator with a tiny random model of transformers."""

import functools
import json
from os.path import commonprefix

import pytest
import torch
from chat_server import save_tiny_chat_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from conclip.negation import load_spacy
from conclip.negation.grammar import generator as grammar
from conclip.negation.llm.generator import BudgetReached, LanguageModelGenerator
from conclip.negation.llm.prompting import MALFORMED, PROMPTS

CAPTIONS = ["A man is riding a horse.", "A boy in a big red hat is kicking a ball.", "A dog runs.", "A cat sleeps."]
load_once = functools.cache(load_spacy)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(grammar, "load_spacy", load_once)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    texts = ["Caption:", *CAPTIONS, *(path.read_text() for path in PROMPTS.glob("*.json")), *map(good, CAPTIONS)]
    return save_tiny_chat_model(tmp_path_factory.mktemp("model"), texts)


def good(caption):
    negated = (
        caption.replace(" is ", " is not ").replace(" runs", " does not run").replace(" sleeps", " does not sleep")
    )
    return json.dumps({"negated_caption": negated})


def generator(model, negation_types=("false",), seed=0, **options):
    options = {"max_new_tokens": 12, "generation_batch_size": 3, **options}
    return LanguageModelGenerator(model, seed=seed, strategy="verb", negation_types=negation_types, **options)


def answers_of(made, captions=CAPTIONS):
    """What the model said, in the order it was asked."""
    said = []
    generate = made.model._generate
    made.model._generate = lambda requests, again: said.append(generate(requests, again)) or said[-1]
    results = list(made.negate(captions, range(len(captions))))
    return results, said


def test_random_answers_are_left_out_and_counted(model):
    made = generator(model, ("false", "true", "hybrid"))
    results = list(made.negate(CAPTIONS, range(4), [["umbrella"]] * 4))
    assert [result.row for result in results] == [0, 1, 2, 3]
    assert not any(result.negations for result in results)
    assert made.counts["false", MALFORMED] == 4 and {reason for _, reason in made.counts} == {MALFORMED}
    # Each was asked for three times.
    assert made.spent.requests == 3 * made.counts.total() and made.spent.retries == 2 * made.counts.total()


def test_batches_give_what_single_requests_give(model):
    """Greedy, against transformers alone: prompts of other lengths in the batch change nothing."""
    made = generator(model)
    _, said = answers_of(made)
    assert [len(texts) for texts in said] == [3, 3, 3, 1, 1, 1]
    tokenizer, alone = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model).eval()
    prompt = made.prompts["negated-pair"]
    triples = [
        ("A man", "is riding", "a horse", "is riding"),
        ("A boy", "is kicking", "a ball", "is kicking"),
        ("A dog", "runs", "", "runs"),
        ("A cat", "sleeps", "", "sleeps"),
    ]
    for caption, triple, text in zip(CAPTIONS, triples, said[0] + said[3], strict=True):
        values = dict(zip(("subject", "predicate", "object", "target"), triple, strict=True), caption=caption)
        chat = tokenizer.apply_chat_template(prompt.messages(values), add_generation_prompt=True, return_tensors="pt")
        chat = chat if isinstance(chat, torch.Tensor) else chat["input_ids"]
        output = alone.generate(chat, max_new_tokens=12, do_sample=False)
        assert text == tokenizer.decode(output[0, chat.shape[1] :], skip_special_tokens=True)


def test_drawn_answers_follow_the_seed(model):
    state = torch.get_rng_state()
    said = [answers_of(generator(model, seed=seed, temperature=1.0))[1] for seed in (3, 3, 4)]
    assert said[0] == said[1] != said[2]
    assert torch.equal(torch.get_rng_state(), state)


def speak(made, monkeypatch):
    """Makes the model answer well, token by token."""
    tokenizer = made.model.tokenizer

    def generate(input_ids, attention_mask, **_):
        assert tokenizer.padding_side == "left" and attention_mask[:, -1].all()
        prompts = tokenizer.batch_decode(input_ids, skip_special_tokens=True)
        # Words at a line's end are unknown to this tokenizer.
        begun = [prompt.rpartition("Caption: ")[2] for prompt in prompts]
        captions = [max(CAPTIONS, key=lambda known, text=text: len(commonprefix([known, text]))) for text in begun]
        made_ = tokenizer([good(caption) for caption in captions], return_tensors="pt", padding=True)["input_ids"]
        return torch.cat([input_ids, made_], 1)

    monkeypatch.setattr(made.model.model, "generate", generate)


def test_good_answers_become_rows(model, monkeypatch):
    made = generator(model)
    speak(made, monkeypatch)
    results = list(made.negate(CAPTIONS, range(4)))
    assert [result.negations["false"].text for result in results] == [
        "A man is not riding a horse.",
        "A boy in a big red hat is not kicking a ball.",
        "A dog does not run.",
        "A cat does not sleep.",
    ]
    assert made.spent.requests == 4


def test_budget_and_file(model, monkeypatch, tmp_path):
    answers = str(tmp_path / "answers.jsonl")
    made = generator(model, max_requests=2, answers_file=answers)
    speak(made, monkeypatch)
    results = []
    with pytest.raises(BudgetReached, match=r"max_requests=2, after 2 requests .* 2 captions are done\."):
        results.extend(made.negate(CAPTIONS, range(4)))
    assert len(results) == 2
    again = generator(model, answers_file=answers)
    speak(again, monkeypatch)
    assert list(again.negate(CAPTIONS, range(4)))[:2] == results
    assert (again.spent.requests, again.spent.cached) == (2, 2)


def test_budget_while_asking_again(model, tmp_path):
    answers = tmp_path / "answers.jsonl"
    made = generator(model, max_requests=4, answers_file=str(answers))
    with pytest.raises(BudgetReached):
        list(made.negate(CAPTIONS, range(4)))
    # None had its three tries: nothing is settled.
    assert answers.read_text() == ""


def test_model_without_a_chat_template(tmp_path):
    model = save_tiny_chat_model(tmp_path, ["a b"], chat_template=None)
    with pytest.raises(ValueError, match="has no chat template"):
        list(generator(model).negate(CAPTIONS, range(4)))


def test_model_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded"):
        list(generator(str(tmp_path / "nothing")).negate(CAPTIONS, range(4)))
