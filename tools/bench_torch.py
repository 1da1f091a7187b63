"""A network of the study's kind and its training step in PyTorch, for `make bench` alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from xraylib.network import model
from xraylib.network.backend import THREADS, keras


def _convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    padding = size // 2
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, padding, bias=False), nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """As model.Residual."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.first, self.second = _convolution(inputs, outputs, 3, stride), _convolution(outputs, outputs)
        self.pool = nn.AvgPool2d(stride, ceil_mode=True)  # of an odd side too, as Keras does
        self.shortcut = _convolution(inputs, outputs, 1) if stride > 1 else None

    def forward(self, x):
        """float (batch, channels, h, w) -> (batch, outputs, h / stride, w / stride)."""
        y = self.second(functional.relu(self.first(x)))
        return functional.relu(y + (x if self.shortcut is None else self.shortcut(self.pool(x))))


def network(like: keras.Sequential) -> nn.Sequential:
    """As model.build after its scaling: float (batch, 1, size, size) in [-1, 1] -> logit (batch, 1).

    like: what model.build gave; ValueError where it has come to hold something that is not copied here.
    """
    (stem,) = (layer for layer in like.layers if isinstance(layer, keras.layers.Conv2D))
    residuals = [layer for layer in like.layers if isinstance(layer, model.Residual)]
    channels = [stem.filters, *(layer.channels for layer in residuals)]
    first = nn.Conv2d(1, stem.filters, stem.kernel_size[0], stem.strides[0], bias=False)
    steps = zip(pairwise(channels), residuals, strict=True)
    blocks = [Residual(*ends, layer.stride) for ends, layer in steps]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels[-1], 1)]
    made = nn.Sequential(first, nn.BatchNorm2d(stem.filters), nn.ReLU(), *blocks, *head)
    found, wanted = (
        sum(math.prod(w.shape) for w in weights) for weights in (made.parameters(), like.trainable_weights)
    )
    if found != wanted:
        raise ValueError(f"in PyTorch {found:,} weights; wanted {wanted:,}, those of model.build. Copy its change.")
    return made


def training_steps(
    like: keras.Sequential, x: np.ndarray, y: np.ndarray, steps: int, bfloat16: bool
) -> Callable[[], None]:
    """A function that makes `steps` AdamW steps on one batch, eager and channels-last; x is (batch, size, size, 1)."""
    torch.set_num_threads(THREADS)
    made = network(like).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(made.parameters(), 1e-3)
    images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(y)

    def run() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logit = made(images / 127.5 - 1)
            functional.binary_cross_entropy_with_logits(logit.float(), labels).backward()
            optimizer.step()

    return run
