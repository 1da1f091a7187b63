"""A network as a file, and as a picture of its graph."""

import json
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from xraylib.files import UserError, atomic
from xraylib.network.backend import keras

REMEDY = "Get it again from the repository, or make it again: make reproduce"


def save_network(network: keras.Model, path: Path) -> None:
    """Write a .keras file with the same bytes for the same network: Keras' own holds the time and memory addresses."""
    with atomic(path) as temporary:
        network.save(temporary)
        with zipfile.ZipFile(temporary) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        metadata = json.loads(members["metadata.json"]) | {"date_saved": ""}
        members["metadata.json"] = json.dumps(metadata).encode()
        members["config.json"] = re.sub(rb', "shared_object_id": \d+', b"", members["config.json"])
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data)  # of 1 January 1980


def load_network(path: Path, build: Callable[[], keras.Model]) -> keras.Model:
    """The network that `build` makes, with the weights of a .keras file, for prediction. Runs no code of the file.

    UserError where the file is missing, damaged, of another architecture or holds weights that are not finite.
    """
    if not path.is_file():
        raise UserError(f"{path}: not there. {REMEDY}")
    network = build()
    try:
        network.load_weights(path)
    except Exception as error:  # zip, HDF5 and Keras fail each in their own way
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise UserError(f"{path}: no weights of {network.name} ({type(error).__name__}: {reason}). {REMEDY}") from error
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        raise UserError(f"{path}: weights that are not finite numbers. {REMEDY}")
    return network


def graph(network: keras.Model) -> bytes:
    """Keras' graph of a network as PNG: a box with its shapes for each layer, one for a residual block."""
    graphviz = shutil.which(Path(sys.executable).with_name("graphviz-pure")) or "dot"  # the first needs no root
    drawn = keras.utils.model_to_dot(network, show_shapes=True, show_layer_names=False, dpi=80)
    return drawn.create(prog=str(graphviz), format="png")
