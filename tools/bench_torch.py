"""A network of the study's kind and its training step in PyTorch, for `make bench` alone."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from xraylib.network import model
from xraylib.network.backend import THREADS, keras


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


class Residual(nn.Module):
    """As model.Residual: float (batch, inputs, h, w) -> (batch, outputs, h / stride, w / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.main = nn.Sequential(
            *_convolution(inputs, outputs, 3, stride), nn.ReLU(), *_convolution(outputs, outputs, 3)
        )
        pool = nn.AvgPool2d(stride, ceil_mode=True)  # of an odd side too, as Keras does
        self.shortcut = nn.Sequential(*([pool, *_convolution(inputs, outputs, 1)] if stride > 1 else []))

    def forward(self, x):
        return functional.relu(self.main(x) + self.shortcut(x))


def network(like: keras.Sequential) -> nn.Sequential:
    """As model.build after its scaling: float (batch, 1, size, size) in [-1, 1] -> logit (batch, 1).

    like: what model.build gave; ValueError where it has come to hold something that is not copied here.
    """
    (stem,) = (layer for layer in like.layers if isinstance(layer, keras.layers.Conv2D))
    residuals = [layer for layer in like.layers if isinstance(layer, model.Residual)]
    channels = [stem.filters, *(layer.channels for layer in residuals)]
    first = nn.Conv2d(1, stem.filters, stem.kernel_size[0], stem.strides[0], bias=False)
    blocks = [Residual(*ends, layer.stride) for ends, layer in zip(pairwise(channels), residuals, strict=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels[-1], 1)]
    made = nn.Sequential(first, nn.BatchNorm2d(stem.filters), nn.ReLU(), *blocks, *head)
    found, wanted = (sum(math.prod(w.shape) for w in ws) for ws in (made.parameters(), like.trainable_weights))
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
