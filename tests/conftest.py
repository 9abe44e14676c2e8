"""No test reaches the network or the user's caches; a tiny CC-Neg for the tests of its builder."""

import os
import shutil
import tempfile

HF_HOME = tempfile.mkdtemp(prefix="conclip-tests-")
# Before any test imports the libraries, which read these once.
os.environ.update(HF_HOME=HF_HOME, HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TQDM_MININTERVAL="10")
for name in ("HF_DATASETS_CACHE", "HF_MODULES_CACHE", "HF_HUB_CACHE", "TRANSFORMERS_CACHE"):
    os.environ.pop(name, None)


import pytest  # noqa: E402
from ccneg_files import write_ccneg, write_coco  # noqa: E402

from dataset_scripts import scenes  # noqa: E402
from dataset_scripts.ccneg import CCNeg  # noqa: E402
from dataset_scripts.ccneg_folder import main  # noqa: E402

# The fixtures `data`, `models`, `punkt_tab`, `small`, `hub` and `graphs`.
pytest_plugins = ["small_benchmarks", "nltk_data", "small_base", "hub_server", "compiled_graphs"]


# Where a test asks for the scenes themselves, a few are enough: drawing all takes 20 seconds. For the whole session,
# since the cache knows the scenes by their code and seed.
scenes.SPLIT_SIZES = {"train": 64, "test": 10}


def pytest_unconfigure():
    shutil.rmtree(HF_HOME, ignore_errors=True)


@pytest.fixture
def ccneg(tmp_path):
    return write_ccneg(tmp_path / "source")


@pytest.fixture
def coco(tmp_path):
    return write_coco(tmp_path / "coco")


@pytest.fixture
def build(tmp_path, ccneg):
    def build_(config_name="default", **options):
        builder = CCNeg(config_name=config_name, data_dir=str(ccneg), cache_dir=str(tmp_path / "cache"), **options)
        builder.download_and_prepare()
        return builder

    return build_


@pytest.fixture
def write(tmp_path, ccneg, capsys):
    """Runs the command line into `tmp_path/ccneg`: exit status, standard output, standard error."""

    def write_(*options):
        status = main(["--data_dir", str(ccneg), "--output_dir", str(tmp_path / "ccneg"), *map(str, options)])
        return status, *capsys.readouterr()

    return write_
