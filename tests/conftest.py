"""No test reaches the network or the user's caches."""

import os
import shutil
import tempfile

HF_HOME = tempfile.mkdtemp(prefix="conclip-tests-")
# Before any test imports the libraries, which read these once.
os.environ.update(HF_HOME=HF_HOME, HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TQDM_MININTERVAL="10")
for name in ("HF_DATASETS_CACHE", "HF_MODULES_CACHE", "HF_HUB_CACHE", "TRANSFORMERS_CACHE"):
    os.environ.pop(name, None)


def pytest_unconfigure():
    shutil.rmtree(HF_HOME, ignore_errors=True)
