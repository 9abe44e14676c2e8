"""A language model behind an OpenAI-compatible server: vLLM, TGI, Ollama and others."""

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

from .answer_file import AnswerFile
from .chat import ASK_AGAIN, ASK_AGAIN_TEMPERATURE, MALFORMED, NO_ANSWER, Prompt, Reply, Request, Spent

logger = logging.getLogger(__name__)

# Seconds before the first retry; each further wait is twice as long, up to the longest.
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
LONGEST_RETRY_AFTER = 600.0
# So many requests in a row without an answer end the run: the server is down, not busy.
MOST_FAILURES = 50
_LARGEST_BODY = 1 << 22


class ServerError(RuntimeError):
    """The server refuses every request, or cannot be reached."""


class _Busy(Exception):
    """Worth another try, after `wait` seconds if the server named a time."""

    def __init__(self, what: str, wait: float | None = None):
        super().__init__(what)
        self.wait = wait


class _Refused(Exception):
    """The server does not want this request as it is (400, 413, 422)."""


def _openai_format(prompt: Prompt) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": prompt.schema}}


def _tgi_format(prompt: Prompt) -> dict:
    return {"type": "json_object", "value": prompt.schema}


# How servers are told the form of an answer; the last is not to tell them. The first that is not refused is kept.
_FORMATS = (_openai_format, _tgi_format, None)


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


class ChatServer:
    """Asks a server, several requests at a time.

    Args:
        model (`str`): as the server calls it.
        base_url (`str`): of the server.
        settings (`dict`): "temperature", "max_new_tokens" and "seed".
        spent (`Spent`): counts, and holds the budget.
        answers (`AnswerFile`, *optional*): where answers are kept and looked up.
        api_key_env (`str`, *optional*): name of the environment variable that holds the API key. Without it none is
            sent.
        max_concurrency (`int`): requests under way at a time.
        timeout (`float`): seconds without a byte from the server, after which a request counts as lost.
        max_retries (`int`): of a request that was lost, or answered with 408, 425, 429 or 5xx.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        settings: dict,
        spent: Spent,
        answers: AnswerFile | None = None,
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
        """Replies in the order of the requests, of which few are held at a time.

        Raises `BudgetReached` or `ServerError` in place of the first reply there cannot be; what is under way then is
        waited for and kept in the answers' file.
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
        text = self.answers.get(key) if self.answers else None
        if text is not None:
            self.spent.count_cached()
        else:
            text = self._ask(request)
            if text is None:
                return Reply(None, NO_ANSWER)
            if self.answers:
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
            except _Refused as error:
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
                body = self._send(data)
                self._failures = 0
                self.spent.end(_tokens(body, data))
                return body
            except _Busy as error:
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

    def _send(self, data: bytes) -> dict:
        request = urllib.request.Request(self.url, data, {"Content-Type": "application/json"}, method="POST")
        key = read_key(self.api_key_env)
        if key:
            # "Unredirected": the key goes to this server and to none that it points to.
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                body = json.loads(response.read(_LARGEST_BODY))
        except urllib.error.HTTPError as error:
            with error:
                raise self._judge(error, key) from None
        except urllib.error.URLError as error:
            raise _Busy(f"it cannot be reached ({error.reason})") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _Busy(f"its reply was cut off or no JSON ({type(error).__name__})") from None
        if not isinstance(body, dict):
            raise _Busy("its reply was no JSON object")
        return body

    def _judge(self, error: urllib.error.HTTPError, key: str | None) -> Exception:
        try:
            said = " ".join(error.read(2000).decode("utf-8", "replace").split())[:300]
        except (OSError, http.client.HTTPException):
            said = ""
        # Some servers repeat the key they do not know.
        what = f"status {error.code} {said}".replace(key, "***") if key else f"status {error.code} {said}"
        if error.code in (408, 425, 429) or error.code >= 500:
            return _Busy(what, _retry_after(error.headers.get("Retry-After")))
        if error.code in (400, 413, 422):
            return _Refused(what)
        return ServerError(f"{self.url} answers with {what}; look at base_url, the model's name and the API key.")


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
