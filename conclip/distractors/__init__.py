"""Distractors: for each image the most similar images of a pool, on request first those that match a negation."""

import importlib

# Name -> its module, imported when the name is used: `conclip distractors --help` does not wait for torch.
_MODULES = {
    "CaptionFilter": "conclip.distractors.caption_filter",
    "Distractors": "conclip.distractors.search",
    "find_distractors": "conclip.distractors.search",
    "merge_distractors": "conclip.distractors.search",
}
__all__ = list(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
