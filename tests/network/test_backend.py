"""TensorFlow comes in quietly, and the same seed gives the same bits in another process."""

import subprocess
import sys

import numpy as np

from tools import verify
from xraylib.network import backend

BITS = """
import sys
from xraylib.network import backend
print("seen", file=sys.stderr)
for policy in ("float32", "mixed_bfloat16"):
    backend.start(7, policy)
    layer = backend.keras.layers.Conv2D(8, 3)
    x = backend.tf.random.stateless_uniform((4, 16, 16, 1), [1, 2])
    print(layer(x).numpy().astype("float32").tobytes().hex())
"""


def test_another_process_draws_the_same_bits_and_writes_nothing_else(capsys):
    other = subprocess.run([sys.executable, "-c", BITS], capture_output=True, text=True)
    exec(BITS, {})
    here = capsys.readouterr()
    assert (other.returncode, other.stderr, len(other.stdout.split())) == (0, here.err, 2)
    assert other.stdout == here.out


def test_precision_follows_from_the_cpu_or_is_named(monkeypatch):
    monkeypatch.delenv("XRAY_PRECISION", raising=False)
    for flags, wanted in (("avx2 avx512f", "float32"), ("avx2 avx512_bf16", "mixed_bfloat16")):
        monkeypatch.setattr(backend, "_cpuinfo", lambda flags=flags: {"flags": flags})
        assert backend.precision() == wanted
    monkeypatch.setenv("XRAY_PRECISION", "float32")
    assert backend.precision() == "float32"


def test_the_machine_is_described_by_what_decides_the_bits(monkeypatch):
    monkeypatch.setattr(backend, "_cpuinfo", lambda: {"model name": "A CPU", "flags": "avx2 avx512f"})
    described = backend.describe()
    assert set(verify.KIND) <= set(described) and described["cpu"] == "A CPU, avx512f"


def test_outputs_are_those_of_keras_predict():
    backend.start(0)
    layers = backend.keras.layers
    network = backend.keras.Sequential([backend.keras.Input((6, 6, 1)), layers.Conv2D(1, 6), layers.Flatten()])
    images = np.random.default_rng(0).integers(0, 256, (300, 6, 6, 1)).astype(np.uint8)
    wanted = network.predict(images.astype(np.float32), batch_size=256, verbose=0)[:, 0]
    np.testing.assert_array_equal(backend.outputs(network, images), wanted)
