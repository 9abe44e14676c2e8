"""Which language model is asked for negations, and how."""

from dataclasses import dataclass, field


@dataclass
class LanguageModelArguments:
    """Which language model is asked, how, and how much."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Model on the Hub or in a folder, or as the server at --base_url calls it."}
    )
    base_url: str | None = field(
        default=None,
        metadata={"help": "OpenAI-compatible server (vLLM, TGI, Ollama), e.g. http://localhost:8000. Default: none, "
                          "the model runs in this process by transformers."},
    )  # fmt: skip
    api_key_env: str | None = field(
        default=None, metadata={"help": "Environment variable that holds the server's API key. Default: no key."}
    )
    prompts_dir: str | None = field(
        default=None, metadata={"help": "Folder with prompts of your own, named as those in negate/prompts."}
    )
    temperature: float = field(default=0.0, metadata={"help": "0 takes the likeliest answer, more draws by the seed."})
    max_new_tokens: int = field(default=256, metadata={"help": "Longest answer, in tokens of the model."})
    generation_batch_size: int = field(default=32, metadata={"help": "Requests at a time, without a server."})
    max_concurrency: int = field(default=16, metadata={"help": "Requests under way at a time, with a server."})
    request_timeout: float = field(default=120.0, metadata={"help": "Seconds after which a request counts as lost."})
    max_retries: int = field(default=6, metadata={"help": "Tries again of a lost request, or on status 429 or 5xx."})
    max_requests: int | None = field(default=None, metadata={"help": "Stop after so many requests of a process."})
    max_tokens: int | None = field(
        default=None, metadata={"help": "Stop after so many tokens, of prompts and answers, of a process."}
    )
    answers_file: str | None = field(
        default=None, metadata={"help": "JSON Lines file of answers: what is in it is not asked again."}
    )
    max_words_left_out: int = field(
        default=1, metadata={"help": "Content words of the caption that a false negation may lack."}
    )
    grammar_fallback: bool = field(
        default=False, metadata={"help": "Take the grammar's sentence where the model's is left out."}
    )

    def __post_init__(self):
        least = {"max_new_tokens": 1, "generation_batch_size": 1, "max_concurrency": 1, "max_retries": 0}
        least |= {"temperature": 0, "request_timeout": 0.001, "max_words_left_out": 0, "max_requests": 0}
        for name, bound in (least | {"max_tokens": 0}).items():
            value = getattr(self, name)
            if value is not None and not value >= bound:
                raise ValueError(f"{name} is {value}; it has to be at least {bound}.")
