"""A trained network to its file and back, or one message that says what is wrong with the file."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np

from xraylib.files import UserError, atomic
from xraylib.network import model  # registers the study's layers, without which none of its files can be read

REMEDY = "Get it again from the repository, or make it again: make reproduce"


def save_network(network: model.keras.Model, path: Path) -> None:
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


def load_network(path: Path, output_shape: tuple[int, ...] = (1,)) -> model.keras.Model:
    """The network of a .keras file, for prediction: images (batch, ...) to (batch, *output_shape).

    Runs no code of the file: Keras' safe mode refuses Lambda layers and what is neither Keras' nor xraylib's. UserError
    where the file is missing, damaged, hostile, of another architecture or holds weights that are not finite.
    """
    if not path.is_file():
        raise UserError(f"{path}: not there. {REMEDY}")
    if path.suffix != ".keras":  # the older formats have no safe mode worth the name
        raise UserError(f"{path}: not a .keras file. {REMEDY}")
    try:
        network = model.keras.models.load_model(path, compile=False, safe_mode=True)
        shapes = network.input_shape[1:], network.output_shape[1:]
    except Exception as error:  # zip, HDF5, JSON and Keras fail each in their own way
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise UserError(f"{path}: no network of this study ({type(error).__name__}: {reason}). {REMEDY}") from error
    if shapes[1] != output_shape:
        raise UserError(f"{path}: images {shapes[0]} to {shapes[1]}; wanted {output_shape}. {REMEDY}")
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        raise UserError(f"{path}: weights that are not finite numbers. {REMEDY}")
    return network
