"""Masks are found by the films' names, and films are cut by them, without TensorFlow."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xraylib.files import UserError, write_array
from xraylib.network import lungs


def test_masks_are_found_by_the_films_names(config, tmp_path):
    masked = replace(config, masks=tmp_path)
    (tmp_path / "train").mkdir()
    Image.fromarray(np.uint8(255) * np.eye(64, dtype=np.uint8)).save(tmp_path / "train" / "a.png")
    index = pd.DataFrame({"path": ["train/b.jpeg", "train/a.jpeg"]})
    masks, rows = lungs.load_masks(masked, index)
    assert rows.tolist() == [1] and masks.shape == (1, 48, 48)
    assert [len(part) for part in lungs.load_masks(replace(config, masks=None), index)] == [0, 0]
    (tmp_path / "train" / "b.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"b.png: no image"):
        lungs.load_masks(masked, index)


def test_frames_of_other_films_are_refused(config, world):
    with pytest.raises(UserError, match=r"frames.npy: not there. Run notebook 02_train"):
        lungs.load_frames(config, world[1])
    write_array(np.zeros((3, 8, 8)), config.build / "lungs.npy")
    with pytest.raises(UserError, match=r"lungs.npy: 3 films, wanted 84"):
        lungs.load_frames(config, world[1], "lungs.npy")


BOXES = """
import sys
from types import SimpleNamespace
import numpy as np, pandas as pd
from pathlib import Path
from xraylib.network import lungs
config = SimpleNamespace(masks=Path(sys.argv[1]), phantoms=True)
boxes = lungs.film_boxes(None, pd.DataFrame({"path": ["a.jpeg", "b.jpeg"]}), config)
print(np.round(boxes[0], 2).tolist(), boxes[1], "tensorflow" in sys.modules)
"""


def test_boxes_of_masks_need_no_tensorflow(tmp_path):
    mask = np.zeros((100, 100), np.uint8)
    mask[20:80, 10:90] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    ran = subprocess.run([sys.executable, "-c", BOXES, tmp_path], capture_output=True, text=True, check=True)
    assert ran.stdout == "[0.11, 0.2, 0.89, 0.8] None False\n"
