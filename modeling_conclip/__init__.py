"""CoN-CLIP for transformers. Only this file is package glue: the others travel to the Hub with the weights."""

from .configuration_conclip import ConCLIPConfig
from .modeling_conclip import ConCLIPModel, ConCLIPOutput

__all__ = ["ConCLIPConfig", "ConCLIPModel", "ConCLIPOutput"]
