"""A server in the chat-completions format, and a tiny random model that chats: helpers of the tests, not a test."""

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(content, tokens=100):
    """The body of a reply, as vLLM and OpenAI write it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": tokens - 10, "completion_tokens": 10, "total_tokens": tokens}
    return {"id": "chat-1", "object": "chat.completion", "choices": [choice], "usage": usage}


def task(payload):
    """The lines of the task, e.g. {"Caption": …, "Deny": …}."""
    return dict(re.findall(r"^([^:\n]+): (.+)$", payload["messages"][-1]["content"], re.M))


class ChatLog:
    """What the server saw."""

    def __init__(self):
        self.payloads, self.headers, self.paths, self.times = [], [], [], []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()


@contextmanager
def chat_server(answer):
    """Serves on a free port: `answer(number, payload)` -> content, body, (status, body) or (status, body, headers)."""
    log = ChatLog()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with log.lock:
                number = len(log.payloads)
                log.payloads.append(payload)
                log.headers.append(dict(self.headers))
                log.paths.append(self.path)
                log.times.append(time.monotonic())
                log.under_way += 1
                log.most_under_way = max(log.most_under_way, log.under_way)
            try:
                found = answer(number, payload)
            finally:
                with log.lock:
                    log.under_way -= 1
            status, body, headers = 200, found, {}
            if isinstance(found, tuple):
                status, body, headers = (*found, {})[:3]
            elif isinstance(found, str):
                body = completion(found)
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client did not wait

        def do_GET(self):
            # Where urllib goes after a redirect.
            log.headers.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", log
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|> {{ message.content }} <|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def save_tiny_chat_model(folder, texts, chat_template=TEMPLATE):
    """A random Llama of one layer and width 16, whose tokenizer knows the words of `texts`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = pre_tokenizers.Metaspace()
    known = {piece for text in texts for piece, _ in words.pre_tokenize_str(text)}
    special = ["<unk>", "<|user|>", "<|assistant|>", "<|end|>"]
    vocabulary = {word: n for n, word in enumerate([*special, *sorted(known)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = words, decoders.Metaspace()
    # As many models' do, it begins texts with a mark that the chat template sets by itself.
    tokenizer.post_processor = processors.TemplateProcessing("<|user|> $A", special_tokens=[("<|user|>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<|end|>", additional_special_tokens=special[1:3]
    )
    fast.chat_template = chat_template
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=vocabulary["<|end|>"],
    )
    fast.save_pretrained(folder)
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)
