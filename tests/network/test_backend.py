"""TensorFlow comes in quietly, and the same seed gives the same bits in another process."""

import subprocess
import sys

import numpy as np

from tools import verify
from xraylib.network import backend

BITS = """
from xraylib.network import backend
backend.start(7, "mixed_bfloat16")
x = backend.tf.random.stateless_uniform((4, 16, 16, 1), [1, 2])
print(backend.keras.layers.Conv2D(8, 3)(x).numpy().tobytes().hex())
"""


def test_another_process_draws_the_same_bits_and_writes_nothing_else(capsys):
    other = subprocess.run([sys.executable, "-c", BITS], capture_output=True, text=True)
    exec(BITS, {})
    assert (other.stdout, other.stderr) == capsys.readouterr()


def test_precision_and_description_follow_from_the_cpu(monkeypatch):
    monkeypatch.delenv("XRAY_PRECISION", raising=False)
    for flags, precision in (("avx2 avx512f", "float32"), ("avx2 avx512_bf16", "mixed_bfloat16")):
        monkeypatch.setattr(backend, "_cpuinfo", lambda flags=flags: {"model name": "A CPU", "flags": flags})
        described = backend.describe()
        assert set(verify.KIND) <= set(described) and described["precision"] == precision
        assert described["cpu"] == f"A CPU, {flags.split()[1]}"


def test_outputs_are_those_of_keras_predict():
    backend.start(0)
    layers = backend.keras.layers
    network = backend.keras.Sequential([backend.keras.Input((6, 6, 1)), layers.Conv2D(1, 6), layers.Flatten()])
    images = np.random.default_rng(0).integers(0, 256, (300, 6, 6, 1)).astype(np.uint8)
    wanted = network.predict(images.astype(np.float32), batch_size=256, verbose=0)[:, 0]
    np.testing.assert_array_equal(backend.outputs(network, images), wanted)
