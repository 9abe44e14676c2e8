"""
CoN-CLIP for the Hugging Face libraries: CLIP models that understand negation.

Names are imported when they are first used, so that `import conclip` takes no time.
"""

import importlib

# Public name -> the module that defines it.
_MODULES = {
    "CaptionNegator": "conclip.negation",
    "ConCLIPConfig": "modeling_conclip",
    "ConCLIPModel": "modeling_conclip",
    "ConCLIPTrainer": "conclip.training.trainer",
    "ConCLIPTrainingArguments": "conclip.training.arguments",
    "embed_query": "conclip.evaluation.query_encoder",
    "evaluate_model": "conclip.evaluation",
    "find_distractors": "conclip.distractors",
    "load_scenes": "dataset_scripts.scenes",
    "negate_captions": "conclip.negation",
}
__version__ = "0.1.0"
__all__ = [*_MODULES]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module 'conclip' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
