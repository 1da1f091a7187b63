"""TensorFlow and Keras, imported quietly, with fixed threads and seeds, in the precision that this CPU is fast in."""

import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np

from xraylib.files import quiet

THREADS = 2  # the study's machine; another count sums in another order and changes the last bits

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
with quiet():  # TensorFlow writes time-stamped lines, which would dirty stored notebooks
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    tf.zeros(1)  # starts the runtime, which has its own lines to write
    tf.get_logger().setLevel("ERROR")  # it warns of each small training that is traced again


def _cpuinfo() -> dict[str, str]:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return {key.strip(): value.strip() for key, value in (line.split(":", 1) for line in lines if ":" in line)}


def cpu() -> str:
    """The CPU's name and the widest instructions that it has: machines that differ in either round otherwise."""
    known = _cpuinfo()
    flags = known.get("flags", known.get("Features", "")).split()
    widest = [name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "asimd") if name in flags][:1]
    return ", ".join([known.get("model name") or platform.processor() or platform.machine(), *widest])


def precision() -> str:
    """The Keras dtype policy of trainings: XRAY_PRECISION, or mixed_bfloat16 if the CPU has it, else float32."""
    fast = {"amx_bf16", "avx512_bf16"} & set(_cpuinfo().get("flags", "").split())
    return os.environ.get("XRAY_PRECISION") or ("mixed_bfloat16" if fast else "float32")


def strategy() -> tf.distribute.Strategy:
    """Where a network is built and trained: mirrored on all GPUs where there are several, else on the one device."""
    several = tf.config.list_logical_devices("GPU")[1:]
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def start(seed: int, policy: str = "float32") -> None:
    """Begin a piece of work from a clean state: earlier graphs forgotten, random seeds and the dtype policy set."""
    keras.backend.clear_session()  # resets the policy too, so it comes first
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(seed)


def outputs(network: keras.Model, images: np.ndarray, batch: int = 256) -> np.ndarray:
    """The one channel that a network gives for images (n, ...), float32: to the bit Keras' slower `predict`."""
    parts = (images[start : start + batch].astype(np.float32) for start in range(0, len(images), batch))
    # Several GPUs answer one after the other: the first answer is taken.
    return np.concatenate([network.predict_on_batch(part)[: len(part), ..., 0] for part in parts])


def in_float32(network: keras.Model, build: Callable[[], keras.Model]) -> keras.Model:
    """The same weights in float32, without the optimizer, so that it predicts alike on every kind of CPU."""
    weights = network.get_weights()
    start(0)  # numbers the layers from 1, so that their names do not depend on what was built before
    exact = build()
    exact.set_weights(weights)
    return exact


def fingerprint(settings: list, *arrays: np.ndarray) -> str:
    """12 hexadecimal digits of all that a training depends on: settings, arrays, code, machine, versions."""
    digest = hashlib.sha256(repr([settings, describe()]).encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:12]


def describe() -> dict[str, str | int]:
    """The machine and versions that a result was made with."""
    return {
        "cores": os.cpu_count() or 1,
        "cpu": cpu(),
        "gpus": len(tf.config.list_logical_devices("GPU")),
        "keras": keras.__version__,
        "machine": platform.machine(),
        "precision": precision(),
        "python": platform.python_version(),
        "system": platform.system(),
        "tensorflow": tf.__version__,
        "threads": THREADS,
    }
