"""A language model in this process, by transformers."""

from collections.abc import Iterable, Iterator
from itertools import islice

from conclip.negation.llm.answer_file import AnswerFile
from conclip.negation.llm.chat import ASK_AGAIN, ASK_AGAIN_TEMPERATURE, MALFORMED, BudgetReached, Reply, Request, Spent


class LocalModel:
    """Asks a model of transformers, in batches with left padding; in bfloat16 on a GPU, else in float32.

    At temperature 0 answers are greedy. Otherwise they are drawn, batch by batch: the same captions in the same order
    in batches of the same size give the same answers.

    Args:
        model (`str`): name on the Hub or folder, with a chat template.
        settings (`dict`): "temperature", "max_new_tokens" and "seed".
        spent (`Spent`): counts, and holds the budget.
        answers (`AnswerFile`, *optional*): where answers are kept and looked up.
        batch_size (`int`): requests at a time.

    Raises:
        `ValueError`: if the model cannot be loaded or has no chat template.
    """

    def __init__(
        self, model: str, settings: dict, spent: Spent, answers: AnswerFile | None = None, batch_size: int = 32
    ):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.name, self.settings, self.spent, self.answers = model, settings, spent, answers
        self.batch_size = batch_size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
            self.model = AutoModelForCausalLM.from_pretrained(model, dtype=dtype).to(self.device).eval()
        except (OSError, ValueError) as error:
            raise ValueError(f"The language model {model} cannot be loaded: {error}") from error
        if not self.tokenizer.chat_template:
            raise ValueError(f"{model} has no chat template: it has to be a model tuned on instructions.")
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def ask(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Replies in the order of the requests. Raises `BudgetReached` after those that could still be made."""
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
            # An answer that the budget kept from being asked for again is asked for by the next run.
            if texts[n] is not None and self.answers is not None and not (stop and n in asked):
                notes = {"model": self.name, "prompt": window[n].prompt.name, "caption": window[n].values["caption"]}
                self.answers.add(keys[n], texts[n], **notes)
        for n, text in enumerate(texts):
            answer = window[n].prompt.read(text)
            if stop and answer is None and n in new:
                raise stop
            yield Reply(answer, None if answer else MALFORMED)

    def _generate(self, requests: list[Request], again: int) -> list[str]:
        import torch

        if not requests:
            return []
        texts = [
            # Models that can think aloud are asked not to; other templates pass the word over.
            self.tokenizer.apply_chat_template(
                request.messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            for request in requests
        ]
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
