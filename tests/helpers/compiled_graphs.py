"""What torch compiles: a fixture, not a test."""

import functools

import pytest


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that are compiled, a list, by a backend that needs no C++ compiler."""
    # Imported here: this module is loaded for every test.
    import torch
    from torch._dynamo.backends.debugging import aot_eager

    found = []

    def backend(graph, inputs):
        found.append(graph)
        return aot_eager(graph, inputs)

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    # What other tests compiled would be used again.
    torch._dynamo.reset()
    yield found
    torch._dynamo.reset()
