"""CoN-CLIP for transformers. `save_pretrained` copies all other files of this folder to the Hub with the weights."""

from .configuration_conclip import ConCLIPConfig
from .modeling_conclip import ConCLIPModel, ConCLIPOutput

__all__ = ["ConCLIPConfig", "ConCLIPModel", "ConCLIPOutput"]
