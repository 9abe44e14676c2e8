"""Language models that answer requests: behind a server or in this process, with a file of answers."""

import email.utils
import http.client
import json
import logging
import os
import random
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from conclip.atomic_write import reporting_write_errors
from conclip.errors import UsageError, one_line
from conclip.model_folders import refuse_hub_code, why_not_loaded
from conclip.negation.llm.prompting import (
    ASK_AGAIN,
    ASK_AGAIN_TEMPERATURE,
    MALFORMED,
    NO_ANSWER,
    BudgetReached,
    Prompt,
    Reply,
    Request,
    Spent,
)


class AnswerFile:
    """Answers by key: a file of one JSON object a line, to which lines are only appended.

    What a stopped run left half written is passed over. Several processes may write to one file; each sees what was
    there when it began and what it wrote itself. In memory there is a key and a place for each answer, some 200 bytes.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._places: dict[bytes, int] = {}
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._read()

    def _read(self) -> None:
        place, line = 0, b"\n"
        with open(self.path, "rb") as file:
            for line in file:
                record = _parse(line)
                if record:
                    self._places[bytes.fromhex(record["key"])] = place
                place += len(line)
        if not line.endswith(b"\n"):
            # Or the next answer would be lost with the half of a line that it would end.
            os.write(self._file, b"\n")

    def get(self, key: str) -> str | None:
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        with self._lock, open(self.path, "rb") as file:
            file.seek(place)
            record = _parse(file.readline())
        return record["answer"] if record and record["key"] == key else None

    def add(self, key: str, answer: str, **notes: str) -> None:
        """`notes` (model, prompt, caption) are for those who read the file."""
        line = (
            json.dumps({"key": key, **notes, "answer": answer}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        )
        with self._lock, reporting_write_errors(self.path, len(line)):
            left = line
            # A disk that is almost full takes a part, and refuses the rest in the next call.
            while left:
                left = left[os.write(self._file, left) :]
            # The file's position is where this line ends, whoever else wrote meanwhile.
            self._places[bytes.fromhex(key)] = os.lseek(self._file, 0, os.SEEK_CUR) - len(line)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _parse(line: bytes) -> dict | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
        return record if len(bytes.fromhex(record["key"])) == 16 and isinstance(record["answer"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


# Kinds of models that encode and do not write.
NO_LANGUAGE_MODELS = ("clip", "siglip", "siglip2", "align", "chinese_clip", "flava", "bert")
LONGEST_RETRY_AFTER = 600.0
_LARGEST_BODY = 1 << 22


class ServerError(RuntimeError):
    """The server refuses every request, or cannot be reached."""


class Busy(Exception):
    """Worth another try, after `wait` seconds if the server named a time."""

    def __init__(self, what: str, wait: float | None = None):
        super().__init__(what)
        self.wait = wait


class Refused(Exception):
    """The server does not want this request as it is (400, 413, 422)."""


def chat_url(base_url: str) -> str:
    """`base_url` with or without its "/v1" -> the address to post to. Raises `ValueError` if it is none."""
    parts = urllib.parse.urlsplit(base_url.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        # Not shown: it may hold a password.
        raise ValueError(
            "base_url has to be an address such as http://localhost:8000, without user, password or query."
        )
    path = parts.path if re.search(r"/v\d\w*$", parts.path) else parts.path + "/v1"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path + "/chat/completions", "", ""))


def read_key(api_key_env: str | None) -> str | None:
    """The API key from the environment. Raises `ValueError`, without the key, if it is not there or not usable."""
    if api_key_env is None:
        return None
    key = os.environ.get(api_key_env, "").strip()
    if not key:
        raise ValueError(f"The environment variable {api_key_env} is empty; it has to hold the API key.")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError(f"The environment variable {api_key_env} holds blanks or characters that no header may hold.")
    return key


def post(url: str, data: bytes, api_key_env: str | None, timeout: float) -> dict:
    """Post JSON and return the JSON object of the reply.

    Raises:
        `Busy`: no connection, no reply in time, a reply cut off or without JSON, status 408, 425, 429 or 5xx.
        `Refused`: status 400, 413 or 422.
        `ServerError`: any other status.
    """
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")
    key = read_key(api_key_env)
    if key:
        # "Unredirected": the key goes to this server and to none that it points to.
        request.add_unredirected_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            body = json.loads(response.read(_LARGEST_BODY))
    except urllib.error.HTTPError as error:
        with error:
            raise _judge(url, error, key) from None
    except urllib.error.URLError as error:
        raise Busy(f"it cannot be reached ({error.reason})") from None
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise Busy(f"its reply was cut off or no JSON ({type(error).__name__})") from None
    if not isinstance(body, dict):
        raise Busy("its reply was no JSON object")
    return body


def _judge(url: str, error: urllib.error.HTTPError, key: str | None) -> Exception:
    try:
        detail = " ".join(error.read(1 << 16).decode("utf-8", "replace").split())
    except (OSError, http.client.HTTPException):
        detail = ""
    # Some servers repeat the key they do not know. It goes before the text is cut, or a part of it might stay.
    detail = detail.replace(key, "***") if key else detail
    what = f"status {error.code} {detail[:300]}".rstrip()
    if error.code in (408, 425, 429) or error.code >= 500:
        return Busy(what, _retry_after(error.headers.get("Retry-After")))
    if error.code in (400, 413, 422):
        return Refused(what)
    return ServerError(f"{url} answers with {what}; look at base_url, the model's name and the API key.")


def _retry_after(value: str | None) -> float | None:
    """Seconds from now; the header holds seconds or a date (RFC 9110, section 10.2.3)."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else None


logger = logging.getLogger(__name__)

# Seconds before the first retry; each further wait is twice as long, up to the longest.
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
# So many requests in a row without an answer end the run: the server is down, not busy.
MOST_FAILURES = 50


def _openai_format(prompt: Prompt) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": prompt.schema}}


def _tgi_format(prompt: Prompt) -> dict:
    return {"type": "json_object", "value": prompt.schema}


# Ways to ask a server for the form of an answer; the last does not ask. The first that is not refused is used.
_FORMATS = (_openai_format, _tgi_format, None)


class ChatServer:
    """Ask a server, several requests at a time.

    Args:
        model (`str`): as the server calls it.
        base_url (`str`): of the server.
        settings (`dict`): "temperature", "max_new_tokens" and "seed".
        spent (`Spent`): counts, and holds the budget.
        answers (`AnswerFile`, *optional*): where answers are stored and looked up.
        api_key_env (`str`, *optional*): name of the environment variable that holds the API key. Without it none is
            sent.
        max_concurrency (`int`): requests under way at a time.
        timeout (`float`): seconds without a byte from the server, after which a request counts as lost.
        max_retries (`int`): of a request that was lost, or answered with 408, 425, 429 or 5xx.
    """

    def __init__(
        self,
        model: str,
        settings: dict,
        spent: Spent,
        answers: AnswerFile | None = None,
        *,
        base_url: str,
        api_key_env: str | None = None,
        max_concurrency: int = 16,
        timeout: float = 120.0,
        max_retries: int = 6,
    ):
        read_key(api_key_env)
        self.model, self.url, self.settings, self.spent, self.answers = (
            model,
            chat_url(base_url),
            settings,
            spent,
            answers,
        )
        self.api_key_env, self.max_concurrency = api_key_env, max_concurrency
        self.timeout, self.max_retries = timeout, max_retries
        self._format = self._failures = 0
        self._stop = threading.Event()

    def ask(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Yield replies in the order of the requests, of which few are held at a time.

        Raises `BudgetReached` or `ServerError` in place of the first reply there cannot be; what is under way then is
        awaited and stored in the file of answers.
        """
        self._stop.clear()
        pending: deque = deque()
        with ThreadPoolExecutor(self.max_concurrency, thread_name_prefix="chat") as pool:
            try:
                for request in requests:
                    pending.append(pool.submit(self._reply, request))
                    while pending and (len(pending) >= 4 * self.max_concurrency or pending[0].done()):
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                self._stop.set()
                for future in pending:
                    future.cancel()

    def _reply(self, request: Request) -> Reply:
        key = request.key({"model": self.model, **self.settings})
        text = self.answers.get(key) if self.answers is not None else None
        if text is not None:
            self.spent.count_cached()
        else:
            text = self._ask(request)
            if text is None:
                return Reply(None, NO_ANSWER)
            if self.answers is not None:
                notes = {"model": self.model, "prompt": request.prompt.name, "caption": request.values["caption"]}
                self.answers.add(key, text, **notes)
        answer = request.prompt.read(text)
        return Reply(answer, None if answer else MALFORMED)

    def _ask(self, request: Request) -> str | None:
        """The first answer in the form asked for, or the last; None if the server gave none."""
        text = None
        for again in range(ASK_AGAIN + 1):
            body = self._send_formatted(request, again)
            if body is None:
                return text
            text = _content(body)
            if request.prompt.read(text):
                break
        return text

    def _send_formatted(self, request: Request, again: int) -> dict | None:
        temperature = self.settings["temperature"]
        payload = {
            "model": self.model,
            "messages": request.messages,
            "max_tokens": self.settings["max_new_tokens"],
            "temperature": max(temperature, ASK_AGAIN_TEMPERATURE) if again else temperature,
            "seed": self.settings["seed"] + again,
        }
        refusal = ""
        for level in range(self._format, len(_FORMATS)):
            form = _FORMATS[level]
            try:
                body = self._send_again({**payload, "response_format": form(request.prompt)} if form else payload)
            except Refused as error:
                refusal = str(error)
                continue
            if body is not None and level > self._format:
                logger.warning("The server takes no %s; went on without it.", _FORMATS[self._format].__name__[1:])
                self._format = level
            return body
        return self._fail(f"it refuses the request: {refusal}")

    def _send_again(self, payload: dict) -> dict | None:
        data = json.dumps(payload).encode()
        for retry in range(self.max_retries + 1):
            self.spent.start(retry=retry > 0)
            try:
                body = post(self.url, data, self.api_key_env, self.timeout)
                self._failures = 0
                self.spent.end(_tokens(body, data))
                return body
            except Busy as error:
                what, wait = str(error), error.wait
            if wait is None:
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2**retry) * random.uniform(0.5, 1.0)
            if retry < self.max_retries and self._stop.wait(wait):
                return None
        return self._fail(what)

    def _fail(self, what: str) -> None:
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            raise ServerError(
                f"{self._failures} requests in a row to {self.url} had no answer, the last because {what}."
            )
        logger.warning("No answer from %s: %s.", self.url, what)


def _content(body: dict) -> str:
    try:
        content = body["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return content if isinstance(content, str) else ""


def _tokens(body: dict, sent: bytes) -> int:
    """As the server counts them; where it does not, a fourth of the characters."""
    usage = body.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) else (len(sent) + len(_content(body))) // 4


class LocalModel:
    """
    Ask a model of transformers, in batches with left padding; in bfloat16 on a GPU, else in float32.

    At temperature 0 answers are greedy. Otherwise they are sampled, batch by batch: the same captions in the same
    order in batches of the same size give the same answers.

    Args:
        model (`str`): name on the Hub or folder, with a chat template.
        settings (`dict`): "temperature", "max_new_tokens" and "seed".
        spent (`Spent`): counts, and holds the budget.
        answers (`AnswerFile`, *optional*): where answers are stored and looked up.
        batch_size (`int`): requests at a time.

    Raises:
        `ValueError`: if the model cannot be loaded or has no chat template.
    """

    def __init__(
        self, model: str, settings: dict, spent: Spent, answers: AnswerFile | None = None, batch_size: int = 32
    ):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig

        self.name, self.settings, self.spent, self.answers = model, settings, spent, answers
        self.batch_size = batch_size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        try:
            own_code = {"trust_remote_code": False}
            config, _ = PreTrainedConfig.get_config_dict(model)
            refuse_hub_code(config, f"The language model {model}")
            if config.get("model_type") in NO_LANGUAGE_MODELS:
                raise ValueError(f"it is a {config['model_type']} model, which writes no text.")
            self.tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left", **own_code)
            loaded, report = AutoModelForCausalLM.from_pretrained(
                model, dtype=dtype, output_loading_info=True, **own_code
            )
            self.model = loaded.to(self.device).eval()
        except UsageError:
            raise
        # Each format of a model has its own types of errors.
        except Exception as error:
            raise ValueError(f"The language model {model} cannot be loaded: {why_not_loaded(model, error)}") from error
        if report["missing_keys"]:
            # transformers fills them with random numbers.
            raise ValueError(f"The language model {model} lacks the weight {min(report['missing_keys'])}.")
        if not self.tokenizer.chat_template:
            raise ValueError(f"{model} has no chat template: it has to be a model tuned on instructions.")
        self._chat([{"role": "user", "content": "Hello"}])
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def ask(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Yield replies in the order of the requests. Raises `BudgetReached` after those that could still be made."""
        requests = iter(requests)
        while window := list(islice(requests, self.batch_size)):
            yield from self._answer(window)

    def _answer(self, window: list[Request]) -> Iterator[Reply]:
        keys = [request.key({"model": self.name, **self.settings}) for request in window]
        texts = [self.answers.get(key) if self.answers is not None else None for key in keys]
        new = [n for n, text in enumerate(texts) if text is None]
        for _ in range(len(window) - len(new)):
            self.spent.count_cached()
        stop = None
        again = 0
        asked = new
        while asked and again <= ASK_AGAIN and stop is None:
            allowed = []
            for n in asked:
                try:
                    self.spent.start(retry=again > 0)
                except BudgetReached as error:
                    stop = error
                    break
                allowed.append(n)
            for n, text in zip(allowed, self._generate([window[n] for n in allowed], again), strict=True):
                texts[n] = text
            asked = [n for n in asked if window[n].prompt.read(texts[n]) is None]
            again += 1
        for n in new:
            # If the budget prevented a second attempt, the next run makes it.
            if texts[n] is not None and self.answers is not None and not (stop and n in asked):
                notes = {"model": self.name, "prompt": window[n].prompt.name, "caption": window[n].values["caption"]}
                self.answers.add(keys[n], texts[n], **notes)
        for n, text in enumerate(texts):
            answer = window[n].prompt.read(text)
            if stop and answer is None and n in new:
                raise stop
            yield Reply(answer, None if answer else MALFORMED)

    def _chat(self, messages: list[dict[str, str]]) -> str:
        """The text of a chat. Raises `ValueError` if the template cannot write it, or reaches for Python's objects."""
        from jinja2 import TemplateError

        try:
            # Models that can think aloud are asked not to; other templates pass the word over.
            return self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except TemplateError as error:
            raise ValueError(f"The chat template of {self.name} cannot be used: {one_line(error)}") from error

    def _generate(self, requests: list[Request], again: int) -> list[str]:
        import torch

        if not requests:
            return []
        texts = [self._chat(request.messages) for request in requests]
        # The template writes the special tokens itself.
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(self.device)
        temperature = self.settings["temperature"]
        if again:
            temperature = max(temperature, ASK_AGAIN_TEMPERATURE)
        drawn = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            torch.manual_seed(self.settings["seed"] + again)
            output = self.model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=self.settings["max_new_tokens"],
                pad_token_id=self.tokenizer.pad_token_id,
                **drawn,
            )
        made = output[:, inputs["input_ids"].shape[1] :]
        self.spent.end(int(inputs["attention_mask"].sum()) + int((made != self.tokenizer.pad_token_id).sum()))
        return self.tokenizer.batch_decode(made, skip_special_tokens=True)
