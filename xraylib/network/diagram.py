"""A network as a graph: Keras model -> PNG, through pydot and a graphviz that needs no root."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

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
