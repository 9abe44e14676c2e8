"""Importing the model takes as long as importing transformers' CLIP: it loads no other library."""

import subprocess
import sys

CODE = """
import sys
from transformers import CLIPConfig, CLIPModel
before = set(sys.modules)
import modeling_conclip
print(*sorted(set(sys.modules) - before))
"""


def test_nothing_but_our_files_is_imported_beside_transformers_clip():
    modules = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.split()
    assert "modeling_conclip.modeling_conclip" in modules
    assert [name for name in modules if name.partition(".")[0] != "modeling_conclip"] == []
