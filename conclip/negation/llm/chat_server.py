"""A language model behind a server: many requests at a time, repeated where that may help."""

import json
import logging
import random
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from conclip.negation.llm.answer_file import AnswerFile
from conclip.negation.llm.http_chat import Busy, Refused, ServerError, chat_url, post, read_key
from conclip.negation.llm.prompting import (
    ASK_AGAIN,
    ASK_AGAIN_TEMPERATURE,
    MALFORMED,
    NO_ANSWER,
    Prompt,
    Reply,
    Request,
    Spent,
)

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
        self.model, self.url, self.settings = model, chat_url(base_url), settings
        self.spent, self.answers = spent, answers
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
        """Return the first answer in the form asked for, or the last; None if the server gave none."""
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
        """Send a request in the first of `_FORMATS` that the server takes; None if it gave no answer."""
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
                before, after = (way.__name__[1:] if way else "no format" for way in (_FORMATS[self._format], form))
                logger.warning("The server refuses requests with %s; they are now sent with %s.", before, after)
                self._format = level
            return body
        return self._fail(f"it refuses the request: {refusal}")

    def _send_again(self, payload: dict) -> dict | None:
        """Send a request until it is answered, `max_retries` times again at most; None if it was not answered."""
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
        """Warn that a request had no answer, or end the run after many in a row."""
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            raise ServerError(
                f"{self._failures} requests in a row to {self.url} had no answer, the last because {what}."
            )
        logger.warning("No answer from %s: %s.", self.url, what)


def _content(body: dict) -> str:
    """Return the text of the first answer; "" if there is none."""
    try:
        content = body["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return content if isinstance(content, str) else ""


def _tokens(body: dict, sent: bytes) -> int:
    """Return how many tokens were used, as the server counts them; if it does not, a fourth of the characters."""
    usage = body.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) else (len(sent) + len(_content(body))) // 4
