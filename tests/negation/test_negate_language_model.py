"""The language model's generator against a server of the test's own: what is asked, kept, refused and counted."""

import functools
import json
import logging
import pickle
import threading
import time
from email.utils import formatdate

import pytest
from chat_server import chat_server, completion, task

from conclip.errors import UsageError
from conclip.negation import Result, load_spacy, parse
from conclip.negation.grammar import generator as filters
from conclip.negation.grammar import generator as grammar
from conclip.negation.llm import chat_server as server
from conclip.negation.llm import http_chat, verify
from conclip.negation.llm.generator import BudgetReached, LanguageModelGenerator, ServerError
from conclip.negation.llm.prompting import MALFORMED, NO_ANSWER
from conclip.negation.pipeline.command import PARSER

CAPTIONS = [
    "A man is riding a horse.",
    "A boy is kicking a ball.",
    "A woman is holding a cat.",
    "A girl is eating a carrot.",
    "A dog is chasing a rabbit.",
    "A child is pulling a cart.",
]
ABSENT = ["umbrella", "bucket"]


load_once = functools.cache(load_spacy)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(grammar, "load_spacy", load_once)
    monkeypatch.setattr(server, "FIRST_WAIT", 0.001)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def good(_, payload):
    """What a good model answers."""
    asked = task(payload)
    caption = asked["Caption"]
    if "Deny" in asked:
        start, _, rest = caption.partition(" is ")
        negated = f"{start} is not {rest}" if asked["Deny"].startswith("is ") else f"No {asked['Deny']} is there."
        return json.dumps({"negated_caption": negated})
    if "Part" in asked:
        start, _, rest = caption.partition(" is ")
        text = f"{start} is not {rest.split()[0]} a {{}}."
    elif "First sentence" in asked:
        things = [
            line.removeprefix("there is ").split(", there is no ")
            for name, line in asked.items()
            if "sentence" in name
        ]
        first, second = [f"There is {there} but no {gone}." for there, gone in things]
        return json.dumps({"first": first, "second": second})
    else:
        text = "There is no {} in the picture."
    names = [asked["First sentence denies"], asked["Second sentence denies"]]
    return json.dumps(dict(zip(("first", "second"), map(text.format, names), strict=True)))


def generator(url, negation_types=("false",), strategy="verb", seed=0, **options):
    return LanguageModelGenerator(
        "tiny", seed=seed, strategy=strategy, negation_types=negation_types, base_url=url, **options
    )


def run(generator_, captions=CAPTIONS):
    return list(generator_.negate(captions, range(len(captions)), [ABSENT] * len(captions)))


def test_every_product_of_a_caption():
    with chat_server(good) as (url, log):
        made = generator(url, ("false", "true", "hybrid", "swap"))
        results = run(made, CAPTIONS[:1])
    first = results[0].negations
    assert list(first) == ["false", "true", "true_foil", "hybrid", "hybrid_foil", "swap"]
    false = first["false"]
    assert false.text == "A man is not riding a horse."
    assert (false.kind, false.target, false.span, false.truth) == ("verb", "is riding", (6, 15), False)
    assert (false.rule, false.generator) == ("negated-pair", "language model")
    for name in ("true", "hybrid"):
        minimal_pair = first[name], first[f"{name}_foil"]
        assert [negation.truth for negation in minimal_pair] == [True, False]
        assert minimal_pair[0].target in ABSENT and minimal_pair[1].target in ("man", "horse")
        assert all(negation.target in negation.text for negation in minimal_pair)
        # The span of a true one is what the absent thing stands in the place of.
        assert CAPTIONS[0][slice(*minimal_pair[0].span)] in ("man", "horse", "is riding")
    assert first["true"].rule.startswith("absent-") and first["hybrid"].rule == "hybrid"
    assert (first["swap"].generator, first["swap"].rule[:5]) == ("grammar", "swap-")
    assert len(log.payloads) == 3 == made.spent.requests and made.spent.tokens == 300
    assert made.counts == {("false", "made"): 1, ("true", "made"): 1, ("hybrid", "made"): 1}


def test_what_is_sent():
    with chat_server(good) as (url, log):
        run(generator(url + "/v1/", max_new_tokens=77, seed=5), CAPTIONS[:1])
        run(generator(url, max_new_tokens=77, seed=5), CAPTIONS[:1])
    assert log.paths == ["/v1/chat/completions"] * 2
    assert log.payloads[0] == log.payloads[1]
    payload = log.payloads[0]
    assert (payload["model"], payload["max_tokens"], payload["temperature"], payload["seed"]) == ("tiny", 77, 0.0, 5)
    form = payload["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["schema"]["required"] == ["negated_caption"]
    # The paper's triple, after examples in turns.
    assert [message["role"] for message in payload["messages"]] == ["user", "assistant"] * 6 + ["user"]
    assert payload["messages"][-1]["content"].splitlines() == [
        "Caption: A man is riding a horse.",
        "Subject: A man",
        "Predicate: is riding",
        "Object: a horse",
        "Deny: is riding",
    ]
    assert "Authorization" not in log.headers[0]


def test_concurrent_requests_are_bounded_and_in_order():
    def slow(number, payload):
        time.sleep(0.03 if number % 3 else 0.09)
        return good(number, payload)

    with chat_server(slow) as (url, log):
        many = run(generator(url, max_concurrency=4), CAPTIONS * 4)
    assert log.most_under_way in (3, 4)
    assert [result.row for result in many] == list(range(24))
    assert [result.negations["false"].text for result in many] == [c.replace(" is ", " is not ") for c in CAPTIONS] * 4


def test_few_captions_are_read_ahead():
    read = []

    def captions():
        for number, caption in enumerate(CAPTIONS * 40):
            read.append(number)
            yield caption

    with chat_server(good) as (url, _):
        made = generator(url, max_concurrency=2)
        made.grammar.batch_size = 4
        results = made.negate(captions(), range(240))
        next(results)
        assert len(read) < 40
        results.close()


def test_busy_server_is_asked_again_when_it_says():
    def busy_once(number, payload):
        return good(number, payload) if number else (429, "{}", {"Retry-After": "1"})

    with chat_server(busy_once) as (url, log):
        made = generator(url)
        assert run(made, CAPTIONS[:1])[0].negations["false"].text == "A man is not riding a horse."
    assert 0.99 < log.times[1] - log.times[0] < 3
    assert (made.spent.requests, made.spent.retries) == (2, 1)


def test_retry_after_holds_seconds_or_a_date():
    assert http_chat._retry_after("7") == 7
    assert http_chat._retry_after("-7") == 0
    assert 25 < http_chat._retry_after(formatdate(time.time() + 30, usegmt=True)) <= 30
    assert http_chat._retry_after("99999") == http_chat.LONGEST_RETRY_AFTER
    for odd in (None, "", "soon", "nan"):
        assert http_chat._retry_after(odd) is None


@pytest.mark.parametrize("failure", [(500, "{}"), (503, "oh"), (200, "no JSON"), (200, "[]"), (429, "{}")])
def test_server_that_never_answers_is_counted(failure, tmp_path):
    def some(number, payload):
        return failure if "man is" in task(payload)["Caption"] else good(number, payload)

    answers = tmp_path / "answers.jsonl"
    with chat_server(some) as (url, log):
        made = generator(url, max_retries=2, answers_file=str(answers))
        results = run(made, CAPTIONS[:3])  # "A man is …" and "A woman is …"
        assert [result.reasons for result in results] == [{"false": NO_ANSWER}, {}, {"false": NO_ANSWER}]
        assert len(log.payloads) == 3 + 1 + 3
        assert made.counts == {("false", NO_ANSWER): 2, ("false", "made"): 1}
        # What had no answer is asked by the next run, and nothing else.
        again = generator(url, max_retries=0, answers_file=str(answers))
        run(again, CAPTIONS[:3])
    assert (again.spent.requests, again.spent.cached) == (2, 1)


def test_waits_grow_and_vary(monkeypatch):
    waits = []
    monkeypatch.setattr(server, "FIRST_WAIT", 1.0)
    monkeypatch.setattr(server, "LONGEST_WAIT", 10.0)
    with chat_server(lambda *_: (500, "{}")) as (url, _):
        made = generator(url, max_retries=6)
        monkeypatch.setattr(made.model._stop, "wait", lambda seconds: waits.append(seconds))
        run(made, CAPTIONS[:1])
    for wait, longest in zip(waits, (1, 2, 4, 8, 10, 10), strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(waits)) == 6


def test_dead_server_ends_the_run(monkeypatch):
    monkeypatch.setattr(server, "MOST_FAILURES", 5)
    with chat_server(good) as (url, _):
        pass
    with pytest.raises(ServerError, match="5 requests in a row .* cannot be reached"):
        run(generator(url, max_retries=1, max_concurrency=1), CAPTIONS * 4)


def test_busy_server_does_not_end_the_run(monkeypatch):
    monkeypatch.setattr(server, "MOST_FAILURES", 2)
    with chat_server(lambda n, payload: (503, "{}") if n % 2 else good(n, payload)) as (url, _):
        made = generator(url, max_retries=0, max_concurrency=1)
        run(made)
    assert made.counts == {("false", "made"): 3, ("false", NO_ANSWER): 3}


@pytest.mark.parametrize(
    "wrong",
    [
        "I would rather not.",
        '{"negated_caption": "A man is not',
        '{"negation": "A man is not riding a horse."}',
        '{"negated_caption": ["A man is not riding a horse."]}',
        '{"negated_caption": " "}',
        '"negated_caption"',
        completion(None),
        {"choices": []},
        {"error": "out of memory"},
        {"choices": [{"message": "A man is not riding a horse."}]},
    ],
)
def test_answer_not_in_the_form_is_asked_for_again(wrong, tmp_path):
    answers = tmp_path / "answers.jsonl"
    with chat_server(lambda n, payload: wrong if n < 2 else good(n, payload)) as (url, log):
        made = generator(url)
        assert "false" in run(made, CAPTIONS[:1])[0].negations
        assert [payload["seed"] for payload in log.payloads] == [0, 1, 2]
        # The same greedy answer would come again.
        assert [payload["temperature"] for payload in log.payloads] == [0.0, 0.7, 0.7]
    with chat_server(lambda *_: wrong) as (url, log):
        made = generator(url, answers_file=str(answers))
        assert run(made, CAPTIONS[:1])[0].reasons == {"false": MALFORMED}
        assert made.counts == {("false", MALFORMED): 1}
        again = generator(url, answers_file=str(answers))
        assert run(again, CAPTIONS[:1])[0].reasons == {"false": MALFORMED}
        assert len(log.payloads) == 3 and again.spent.cached == 1


@pytest.mark.parametrize(
    "around",
    [
        "Sure! {}\nThat {{denies}} it.",
        "```json\n{}\n```",
        '<think>{{"negated_caption": "No."}}</think>{}',
        '{{"a": 1}} {}',
    ],
)
def test_object_is_found_in_talk(around):
    with chat_server(lambda n, payload: around.format(good(n, payload))) as (url, log):
        assert run(generator(url), CAPTIONS[:1])[0].negations["false"].text == "A man is not riding a horse."
    assert len(log.payloads) == 1


@pytest.mark.parametrize("taken", ["json_object", None])
def test_server_that_takes_no_schema(taken, caplog):
    def picky(number, payload):
        form = payload.get("response_format", {}).get("type")
        return good(number, payload) if form in (taken, None) else (400, '{"error": "response_format"}')

    with chat_server(picky) as (url, log):
        results = run(generator(url, max_concurrency=1))
    assert all("false" in result.negations for result in results)
    forms = [payload.get("response_format", {}).get("type") for payload in log.payloads]
    first = ["json_schema", "json_object", None][: 2 + (taken is None)]
    assert forms == first + [taken] * 5
    form = "tgi_format" if taken else "no format"
    assert f"The server refuses requests with openai_format; they are now sent with {form}." in caplog.text
    if taken:
        assert log.payloads[1]["response_format"]["value"]["required"] == ["negated_caption"]


def test_one_refused_request_changes_no_other():
    def too_long(number, payload):
        return (400, "too many tokens") if "boy" in task(payload)["Caption"] else good(number, payload)

    with chat_server(too_long) as (url, log):
        results = run(generator(url, max_concurrency=1), CAPTIONS[:3])
    assert [list(result.reasons.values()) for result in results] == [[], [NO_ANSWER], []]
    assert log.payloads[-1]["response_format"]["type"] == "json_schema"


def test_timeout():
    with chat_server(lambda n, payload: time.sleep(0.6) or good(n, payload)) as (url, log):
        made = generator(url, request_timeout=0.1, max_retries=1)
        assert run(made, CAPTIONS[:1])[0].reasons == {"false": NO_ANSWER}
    assert len(log.payloads) == 2


@pytest.mark.parametrize(("limit", "most"), [({"max_requests": 4}, 4), ({"max_tokens": 350}, 4)])
def test_budget_ends_the_run_and_keeps_what_is_done(tmp_path, limit, most):
    answers = str(tmp_path / "answers.jsonl")
    with chat_server(good) as (url, log):
        made = generator(url, max_concurrency=1, answers_file=answers, **limit)
        results = []
        (name, value), *_ = limit.items()
        said = f"Stopped by {name}={value}, after 4 requests and 400 tokens. 4 captions are done."
        with pytest.raises(BudgetReached) as error:
            results.extend(made.negate(CAPTIONS, range(6), None))
        # extend keeps what came before the error.
        assert str(error.value) == said and len(results) == 4
        again = generator(url, answers_file=answers)
        whole = run(again)
    assert (again.spent.requests, again.spent.cached) == (2, 4)
    assert whole[:4] == results and all("false" in result.negations for result in whole)
    asked = [task(payload)["Caption"] for payload in log.payloads]
    assert sorted(asked) == sorted(CAPTIONS) and len(log.payloads) == most + 2


def test_answers_of_another_model_or_setting_are_not_taken(tmp_path):
    answers = str(tmp_path / "answers.jsonl")
    with chat_server(good) as (url, _):
        run(generator(url, answers_file=answers))
        for options in ({"seed": 1}, {"temperature": 0.5}, {"max_new_tokens": 99}):
            other = generator(url, answers_file=answers, **options)
            run(other)
            assert (other.spent.requests, other.spent.cached) == (6, 0)
        same = generator(url + "/v1", answers_file=answers, max_concurrency=2)
        run(same)
    assert (same.spent.requests, same.spent.cached) == (0, 6)


def test_stopped_consumer_keeps_what_was_under_way(tmp_path):
    answers = str(tmp_path / "answers.jsonl")
    with chat_server(good) as (url, log):
        results = generator(url, answers_file=answers, max_concurrency=2).negate(CAPTIONS, range(6))
        next(results)
        results.close()
        asked = len(log.payloads)
        again = generator(url, answers_file=answers)
        run(again)
    assert again.spent.cached == asked and len(log.payloads) == 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chat_")]


def test_key_is_sent_and_shown_nowhere(monkeypatch, caplog, tmp_path):
    key = "sk-7fq3-secret-9x"
    monkeypatch.setenv("SOME_KEY", f" {key}\n")
    caplog.set_level(logging.DEBUG)
    answers = tmp_path / "answers.jsonl"
    with chat_server(good) as (url, log):
        made = generator(url, api_key_env="SOME_KEY", answers_file=str(answers))
        run(made)
        assert {headers["Authorization"] for headers in log.headers} == {f"Bearer {key}"}
    shown = [repr(made.__dict__), repr(made.model.__dict__), str(pickle.dumps(made)), answers.read_text()]
    unknown = 100 * " " + f"Incorrect API key provided: {key}. " + "x" * 300
    for status in (401, 403, 404):
        with chat_server(lambda *_, status=status: (status, unknown)) as (url, _):
            with pytest.raises(ServerError, match=rf"status {status} Incorrect API key provided: \*\*\*") as error:
                run(generator(url, api_key_env="SOME_KEY"))
            shown.append(str(error.value))
    for status in (500, 400):
        with chat_server(lambda *_, status=status: (status, unknown)) as (url, _):
            run(generator(url, api_key_env="SOME_KEY", max_retries=0))
    assert "***" in caplog.text
    assert not [text for text in (*shown, caplog.text) if "7fq3" in text]


def test_key_does_not_follow_a_redirect(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    with chat_server(good) as (other, other_log):
        with chat_server(lambda *_: (302, "", {"Location": other})) as (url, log):
            run(generator(url, api_key_env="SOME_KEY", max_retries=0), CAPTIONS[:1])
    assert "Authorization" in log.headers[0]
    assert other_log.headers and not any("Authorization" in headers for headers in other_log.headers)


@pytest.mark.parametrize("value", ["", "two words", "sk-\x00", "schlüssel"])
def test_key_that_no_header_can_hold(monkeypatch, value):
    if "\x00" in value:
        value = "sk-\x01"
    monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(ValueError, match="SOME_KEY") as error:
        run(generator("http://localhost:1", api_key_env="SOME_KEY"))
    assert not value or value not in str(error.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "file:///etc/x", "http://", "http://me:pass@host/v1"])
def test_base_url_that_is_none(url):
    with pytest.raises(ValueError, match="base_url") as error:
        run(generator(url))
    assert "pass@" not in str(error.value)


def test_answers_are_judged():
    """`test_negate_verify.py` has the rules; here they are applied, and counted."""

    def bad(number, payload):
        text = good(number, payload)
        return text.replace("horse", "camel") if "Deny" in task(payload) else text.replace("is a", "is no umbrella, a")

    with chat_server(bad) as (url, _):
        made = generator(url, ("false", "hybrid"))
        result = run(made, CAPTIONS[:1])[0]
    assert not result.negations
    assert made.counts["false", verify.ADDED] == 1 and made.counts.total() == 2
    assert result.reasons["false"] == verify.ADDED and result.reasons["hybrid"] == result.reasons["hybrid_foil"]


def test_hybrid_has_to_say_what_is_there():
    def bare(number, payload):
        answer = json.loads(good(number, payload))
        return json.dumps({name: f"There is no {text.rpartition('no ')[2]}" for name, text in answer.items()})

    with chat_server(bare) as (url, _):
        assert run(generator(url, ("hybrid",)), CAPTIONS[:1])[0].reasons["hybrid"] == verify.NOT_THERE


def test_false_negation_denies_something_else_than_the_foil():
    with chat_server(good) as (url, _):
        made = generator(url, ("false", "true"), strategy="random")
        parses = [
            parse(doc) for doc in made.nlp.pipe([*CAPTIONS, "A man is running.", "A red car is parked by a tree."])
        ]
        plans = [made._plan(parsed, row, ["camel", *ABSENT]) for row in range(20) for parsed in parses]
    pairs = [(plan.tasks[0].pair, plan.tasks[1].plan[0]) for plan in plans if len(plan.tasks) == 2]
    assert len(pairs) > 60 and any(true.kind != "object" for _, true in pairs)
    assert not [pair for pair, true in pairs if true.kind != "object" and pair.span == true.span]


def test_model_may_succeed_where_the_grammar_did_not(monkeypatch):
    with chat_server(good) as (url, _):
        made = generator(url)
        monkeypatch.setattr(
            made.grammar, "negate_parsed", lambda _, row, __: Result(row, {}, {"false": filters.DOUBT})
        )
        result = run(made, CAPTIONS[:1])[0]
    assert list(result.negations) == ["false"] and result.reasons == {}


def test_text_longer_than_the_model_takes_is_skipped():
    with chat_server(good) as (url, _):
        made = LanguageModelGenerator(
            "tiny",
            base_url=url,
            strategy="verb",
            negation_types=("false",),
            count_tokens=lambda text: 78 if "horse" in text else 77,
        )
        results = run(made, CAPTIONS[:2])
    assert [result.reasons for result in results] == [{"false": filters.LONG}, {}]


def test_grammar_takes_over_where_asked():
    with chat_server(lambda *_: "I will not.") as (url, _):
        without = run(generator(url, ("false", "true", "hybrid")), CAPTIONS[:2])
        made = generator(url, ("false", "true", "hybrid"), grammar_fallback=True)
        results = run(made, CAPTIONS[:2])
    assert {*without[0].reasons.values()} == {MALFORMED} and len(without[0].reasons) == 5
    assert not without[0].negations and not results[0].reasons
    assert {negation.generator for negation in results[0].negations.values()} == {"grammar"}
    # The report still says what the model's answers were worth.
    assert made.counts == {(negation_type, MALFORMED): 2 for negation_type in ("false", "true", "hybrid")}


def test_parsed_captions_give_the_same():
    with chat_server(good) as (url, _):
        made = generator(url)
        parses = [parse(doc) for doc in made.nlp.pipe(CAPTIONS)]
        assert list(made.negate_all(zip(parses, range(6), [ABSENT] * 6, strict=True))) == run(generator(url))
        assert made.negation_types == {"false"}


def test_results_come_as_soon_as_they_are_whole():
    """Two captions on the way, the second of which the server holds back."""
    hold, late = threading.Event(), []

    def holding(number, payload):
        if "boy" in task(payload)["Caption"] and not hold.wait(3):
            late.append(number)
        return good(number, payload)

    with chat_server(holding) as (url, _):
        results = generator(url, max_concurrency=1).negate(CAPTIONS, range(6))
        try:
            assert next(results).row == 0 and not late
        finally:
            hold.set()
        assert [result.row for result in results] == [1, 2, 3, 4, 5]


def test_generator_without_a_model():
    with pytest.raises(ValueError, match="needs model_name_or_path"):
        LanguageModelGenerator("")


def test_captions_of_which_nothing_is_asked():
    captions = ["There is no dog.", *CAPTIONS[:2], "Nobody is here."]
    with chat_server(good) as (url, log):
        results = run(generator(url), captions)
    assert [result.row for result in results] == [0, 1, 2, 3] and len(log.payloads) == 2
    assert results[0].reasons == results[3].reasons == {"false": filters.NEGATED}


def test_generator_travels_to_another_process(tmp_path):
    with chat_server(good) as (url, _):
        made = generator(url, answers_file=str(tmp_path / "answers.jsonl"))
        before = run(made)
        other = pickle.loads(pickle.dumps(made))
        assert run(other) == before
    assert other.spent.cached == 6 and made.spent.cached == 0


@pytest.mark.parametrize("option", ["--max_concurrency=0", "--temperature=-1.0", "--max_requests=-1"])
def test_arguments_out_of_range(option):
    with pytest.raises(UsageError, match=f"{option.partition('=')[0]} must be . or more"):
        PARSER.parse(["--dataset_name=x", "--output_dir=y", option])
