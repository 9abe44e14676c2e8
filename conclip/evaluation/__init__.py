"""Benchmarks of negation, composition, retrieval and classification for CLIP and similar models."""

__all__ = ["BenchmarkReport", "evaluate_model", "evaluate_models"]


def __getattr__(name: str):
    # Imported late, so that the command line answers --help without PyTorch.
    if name in __all__:
        from conclip.evaluation import benchmarking

        return getattr(benchmarking, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
