"""A network as a table of its layers, and as Keras' own graph."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from xraylib.files import UserError, atomic
from xraylib.network.backend import keras


def model_diagram(model: keras.Model, path: Path) -> None:
    """Draw a network's layers with their output shapes as a PNG; UserError where there is no graphviz."""
    packaged = Path(sys.executable).with_name("graphviz-pure")  # needs no root
    graphviz = shutil.which(packaged) or shutil.which("dot")
    with atomic(path) as temporary:
        if graphviz is None:
            raise UserError(f"{packaged}: no graphviz. Wanted the package graphviz-pure: pip install graphviz-pure")
        graph = keras.utils.model_to_dot(model, show_shapes=True, show_layer_names=False, dpi=110)
        graph.write(str(temporary), format="png", prog=graphviz)


JOINED = {"Rescaling": "rescaled", "FusedBatchNormalization": "norm", "ReLU": "ReLU", "Dropout": "dropout"}
NAMES = {
    "Dense": "dense",
    "Flatten": "flattened",
    "GlobalAveragePooling2D": "mean of all places",
    "MaxPooling2D": "maximum of 2 x 2",
    "Residual": "residual block",
}


def layers(networks: Mapping[str, keras.Model]) -> pd.DataFrame:
    """A row per layer: network, layer, output, weights. JOINED layers and equal residual blocks share a row."""
    rows: list[dict] = []
    for network, model in networks.items():
        rows.append({"network": network, "layer": "input", "output": _shape(model.input_shape), "weights": 0})
        blocks = 0  # residual blocks in the last row
        for layer in model.layers:
            kind, output = type(layer).__name__, _shape(layer.output.shape)
            blocks = (blocks if output == rows[-1]["output"] else 0) + 1 if kind == "Residual" else 0
            if kind in JOINED:
                rows[-1]["layer"] += f", {JOINED[kind]}"
            elif blocks > 1:
                rows[-1]["layer"] = f"{blocks} residual blocks"
            else:
                rows.append({"network": network, "layer": _words(layer), "output": output, "weights": 0})
            rows[-1]["weights"] += layer.count_params()
    return pd.DataFrame(rows)


def _shape(shape: tuple) -> str:
    return " x ".join(map(str, shape[1:]))


def _words(layer: keras.Layer) -> str:
    if isinstance(layer, keras.layers.Conv2D):
        name = f"convolution {_shape((0, *layer.kernel_size))}"
        name += f", stride {layer.strides[0]}" if layer.strides[0] > 1 else ""
    else:
        name = NAMES[type(layer).__name__]
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    return name + {"relu": ", ReLU", "sigmoid": ", sigmoid"}.get(activation, "")
