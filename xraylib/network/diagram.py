"""A network as a table of its layers, and as Keras' own graph, through pydot and a graphviz that needs no root."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from xraylib.files import UserError, whole
from xraylib.network.backend import keras


def renderer() -> str:
    """The absolute path of a graphviz: the Python package's, beside this Python, else the system's dot."""
    packaged = Path(sys.executable).with_name("graphviz-pure")
    found = shutil.which(packaged) or shutil.which("dot")
    if found is None:
        raise UserError(f"{packaged}: no graphviz. Wanted the package graphviz-pure: pip install graphviz-pure")
    return found


def model_diagram(model: keras.Model, path: Path, dpi: int = 110) -> None:
    """Draw the layers of `model`, top to bottom, with their output shapes, as a PNG at `path`, whole or not at all.

    keras.utils.plot_model would print a message and write nothing where it finds no dot on PATH.
    """
    graph = keras.utils.model_to_dot(model, show_shapes=True, show_layer_names=False, dpi=dpi)
    with whole(path) as temporary:
        graph.write(str(temporary), format="png", prog=renderer())


JOINED = {"Rescaling": "rescaled", "FusedBatchNormalization": "norm", "ReLU": "ReLU", "Dropout": "dropout"}
NAMES = {"MaxPooling2D": "maximum of 2 x 2", "Flatten": "flattened", "GlobalAveragePooling2D": "mean of all places"}


def layers(networks: Mapping[str, keras.Model]) -> pd.DataFrame:
    """A row per layer, from the input on: network, layer (in words), output (its shape) and weights.

    Layers in JOINED stand in the row before them, and residual blocks with one output shape in one row.
    """
    rows: list[dict] = []
    for network, model in networks.items():
        rows.append(
            {"network": network, "layer": "input", "output": _shape(model.input_shape), "weights": 0, "blocks": 0}
        )
        for layer in model.layers:
            kind, last, output = type(layer).__name__, rows[-1], _shape(layer.output.shape)
            block = kind == "Residual"
            if block and last["blocks"] and last["output"] == output:
                last["blocks"] += 1
                last["layer"] = f"{last['blocks']} residual blocks"
            elif kind in JOINED:
                last["layer"] += f", {JOINED[kind]}"
            else:
                rows.append(
                    {"network": network, "layer": _words(layer), "output": output, "weights": 0, "blocks": int(block)}
                )
            rows[-1]["weights"] += layer.count_params()
    return pd.DataFrame(rows).drop(columns="blocks")


def _shape(shape: tuple) -> str:
    return " x ".join(map(str, shape[1:]))


def _words(layer: keras.Layer) -> str:
    kind = type(layer).__name__
    if kind == "Conv2D":
        name = f"convolution {_shape((0, *layer.kernel_size))}"
        name += f", stride {layer.strides[0]}" if layer.strides[0] > 1 else ""
    else:
        name = {"Residual": "residual block", "Dense": "dense"}.get(kind) or NAMES[kind]
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    return name + {"relu": ", ReLU", "sigmoid": ", sigmoid"}.get(activation, "")
