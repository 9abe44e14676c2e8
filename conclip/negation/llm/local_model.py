"""A language model in this process: many requests in a batch."""

from collections.abc import Iterable, Iterator
from itertools import islice

from conclip.errors import UsageError, one_line
from conclip.model_folders import refuse_hub_code, why_not_loaded
from conclip.negation.llm.answer_file import AnswerFile
from conclip.negation.llm.prompting import (
    ASK_AGAIN,
    ASK_AGAIN_TEMPERATURE,
    MALFORMED,
    BudgetReached,
    Reply,
    Request,
    Spent,
)

# Kinds of models that encode and do not write.
NO_LANGUAGE_MODELS = ("clip", "siglip", "siglip2", "align", "chinese_clip", "flava", "bert")


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
        """Yield the replies to one batch: those in the file first, then the model is asked, again where need be."""
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
        """
        Return the text of a chat.

        Raises `ValueError` if the template cannot write it, or reaches for Python's objects.
        """
        from jinja2 import TemplateError

        try:
            # Models that can think aloud are asked not to; other templates pass the word over.
            return self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except TemplateError as error:
            raise ValueError(f"The chat template of {self.name} cannot be used: {one_line(error)}") from error

    def _generate(self, requests: list[Request], again: int) -> list[str]:
        """Return what the model writes to each request; `again` counts the attempts before."""
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
