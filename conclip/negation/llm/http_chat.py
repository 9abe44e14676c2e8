"""One request to an OpenAI-compatible server, and what went wrong with it."""

import email.utils
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request

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
    """Return the address to post to; `base_url` may lack its "/v1". Raises `ValueError` if it is no address."""
    parts = urllib.parse.urlsplit(base_url.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        # Not shown: it may hold a password.
        raise ValueError(
            "base_url has to be an address such as http://localhost:8000, without user, password or query."
        )
    path = parts.path if re.search(r"/v\d\w*$", parts.path) else parts.path + "/v1"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path + "/chat/completions", "", ""))


def read_key(api_key_env: str | None) -> str | None:
    """
    Return the API key from the environment, None if `api_key_env` is None.

    Raises `ValueError`, which does not show the key, if the variable is empty or holds what no header may hold.
    """
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
    """Return the exception for a status that is an error: whether another try, or another request, may help."""
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
    """Return the seconds to wait; the header holds seconds or a date (RFC 9110, section 10.2.3)."""
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
