"""Small networks with lived-in batch norms, as after some training."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aerodet.detectnet.model import Architecture, DetectNet
from aerodet.detectnet.quantize import prepare_qat

# About a third of the parameters of width 0.25, in multiples of 8, at least 16: what pruning leaves.
PRUNED = {
    "conv1": 16,
    **{f"block_1{b}_conv_{n}": 16 for b in "ab" for n in (1, 2)},
    **{f"block_2{b}_conv_{n}": 24 for b in "ab" for n in (1, 2)},
    **{f"block_3{b}_conv_{n}": 40 for b in "ab" for n in (1, 2)},
    **{f"block_4{b}_conv_{n}": 64 for b in "ab" for n in (1, 2)},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., DetectNet]:
    def make(*, qat: bool, side: int = 64, seed: int = 0, **architecture: Any) -> DetectNet:
        torch.manual_seed(seed)
        model = DetectNet(Architecture(**{"width": 0.125, **architecture}))
        if qat:
            prepare_qat(model)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.5
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0.0, 0.3)
                module.weight.data[::5] *= -1.0  # a negative gain flips the signs of a channel's integers
        model.train()
        with torch.no_grad():
            for _ in range(3):
                model(torch.rand(4, 3, side, side))
        return model.eval()

    return make


@pytest.fixture(scope="session")
def pruned_qat(make_model: Callable[..., DetectNet]) -> DetectNet:
    return make_model(qat=True, width=0.25, channels=PRUNED)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
