"""TensorFlow comes in quietly, and the same seed gives the same bits in another process."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from tools import verify
from xraylib.network import backend

BITS = """
from xraylib.network import backend
for policy in ("float32", "mixed_bfloat16"):
    backend.start(7, policy)
    layer = backend.keras.layers.Conv2D(8, 3)
    x = backend.tf.random.stateless_uniform((4, 16, 16, 1), [1, 2])
    print(layer(x).numpy().astype("float32").tobytes().hex())
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_importing_tensorflow_writes_nothing_and_standard_error_works_after_it():
    done = run("import sys, xraylib.network.backend; print('seen', file=sys.stderr)")
    assert (done.stdout, done.stderr, done.returncode) == ("", "seen\n", 0)


def test_two_processes_draw_the_same_bits():
    first, second = run(BITS), run(BITS)
    assert first.returncode == 0 and len(first.stdout.split()) == 2
    assert first.stdout == second.stdout


def test_a_start_forgets_what_came_before():
    def draw():
        backend.start(3)
        return backend.keras.random.normal((5,)).numpy()

    first = draw()
    backend.keras.config.set_dtype_policy("mixed_bfloat16")
    backend.keras.random.normal((7,))
    np.testing.assert_array_equal(draw(), first)
    assert backend.keras.config.dtype_policy().name == "float32"


def test_precision_can_be_named(monkeypatch):
    monkeypatch.setenv("XRAY_PRECISION", "float32")
    assert backend.precision() == "float32"
    monkeypatch.delenv("XRAY_PRECISION")
    assert backend.precision() == ("mixed_bfloat16" if backend.has_fast_bfloat16() else "float32")


def test_the_machine_is_described_by_what_decides_the_bits():
    described = backend.describe()
    assert set(verify.KIND) <= set(described)
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    for name in ("amx_bf16", "avx512f"):
        assert (name in described["cpu"]) <= (name in flags)
    assert described["cpu"] == backend.cpu() != ""


def test_outputs_are_those_of_keras_predict():
    backend.start(0)
    network = backend.keras.Sequential([backend.keras.Input((6, 6, 1)), backend.keras.layers.Conv2D(1, 6)])
    network = backend.keras.Sequential([network, backend.keras.layers.Flatten()])
    x = np.random.default_rng(0).normal(size=(300, 6, 6, 1)).astype(np.float32)
    for n in (1, 256, 300):
        wanted = network.predict(x[:n], batch_size=256, verbose=0)[:, 0]
        np.testing.assert_array_equal(backend.outputs(network, x[:n]), wanted)
