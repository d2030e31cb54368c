"""The size of a network, counted without memory, is that of the network that trains."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from sweeplora.models.family import Family
from sweeplora.networks.measure import measure
from sweeplora.networks.network import attach
from tests.networks.test_network import ALGORITHMS


@pytest.mark.parametrize("name", ALGORITHMS)
def test_numbers_that_train_and_numbers_in_the_file_are_those_of_the_network(name: str, model: Family) -> None:
    algorithm = ALGORITHMS[name]
    found = measure(model.facts, asdict(algorithm), algorithm)
    network = attach(model, algorithm, 0)
    try:
        trained = [one.parameter for one in network.trained()]
        assert found.parameters == sum(parameter.numel() for parameter in trained)
        assert found.in_file == sum(tensor.numel() for tensor in network.state_dict().values())
        assert name == "norms" or found.shape in {tuple(parameter.shape) for parameter in trained}
    finally:
        network.detach()
