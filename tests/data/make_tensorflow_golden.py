"""Make tensorflow_golden.npz: outputs of a small random Borzoi by Keras' own layers, in float64.

    python tests/data/make_tensorflow_golden.py tests/data/tensorflow_golden.npz

Needs TensorFlow 2.15 and NumPy (``pip install tensorflow==2.15.1``), and nothing of the project but the network of
``benchmarks/against_tensorflow``, which is written with Keras layers. The archive holds ``params`` (JSON), ``letters``
uint8 (windows, length) with 4 for an unknown base, ``weights/NAME`` float32 in the shapes of a state dict, ``coverage``
float64 (windows, tracks, bins) and ``version``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import tensorflow as tf

REFERENCE = Path(__file__).parents[2] / "benchmarks" / "against_tensorflow" / "reference.py"
LENGTH = 2048
PARAMS = {
    "seq_length": LENGTH,
    "activation": "gelu",
    "norm_type": "batch",
    "bn_momentum": 0.9,
    "l2_scale": 0.0,
    "trunk": [
        {
            "name": "conv_dna",
            "filters": 16,
            "kernel_size": 11,
            "norm_type": None,
            "activation": "linear",
            "pool_size": 2,
        },
        {
            "name": "res_tower",
            "filters_init": 16,
            "filters_end": 32,
            "divisible_by": 8,
            "kernel_size": 5,
            "num_convs": 1,
            "pool_size": 2,
            "repeat": 6,
        },
        {
            "name": "transformer_tower",
            "key_size": 8,
            "heads": 2,
            "num_position_features": 8,
            "dropout": 0.0,
            "mha_l2_scale": 0.0,
            "l2_scale": 0.0,
            "repeat": 2,
        },
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "Cropping1D", "cropping": 16},
    ],
    "head_human": {"name": "final", "units": 6, "activation": "softplus"},
}


def random_values(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return float32 weights for which no layer is without effect."""
    if name.endswith("running_var"):
        values = generator.uniform(0.5, 1.5, shape)
    elif "norm" in name and name.endswith("weight"):
        values = generator.uniform(0.7, 1.3, shape)
    elif len(shape) == 1 or name.endswith("_bias"):
        values = generator.normal(0.0, 0.2, shape)
    else:
        values = generator.normal(0.0, (1.5 / np.prod(shape[1:])) ** 0.5, shape)
    return values.astype(np.float32)


def main(path: str) -> None:
    """Draw weights and windows, run Keras, write the archive."""
    spec = importlib.util.spec_from_file_location("keras_reference", REFERENCE)
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    tf.keras.backend.set_floatx("float64")
    generator = np.random.default_rng(20260101)
    model = reference.network(PARAMS)
    stored = {}
    for name, (variable, turn) in reference.named(model).items():
        axes = turn(np.arange(np.prod(variable.shape)).reshape(variable.shape))
        stored[f"weights/{name}"] = values = random_values(name, axes.shape, generator)
        flat = np.empty(values.size)
        flat[axes.ravel()] = values.ravel()  # the way back of any transposition
        variable.assign(flat.reshape(variable.shape))
    letters = generator.integers(0, 4, (2, LENGTH)).astype(np.uint8)
    letters[:, 700:760] = 4
    onehot = tf.one_hot(letters, 5, dtype="float64")[..., :4]
    coverage = model(onehot, training=False).numpy().transpose(0, 2, 1)
    version = ", ".join(f"{name} {metadata.version(name)}" for name in ("tensorflow", "keras", "numpy"))
    np.savez_compressed(path, params=json.dumps(PARAMS), letters=letters, coverage=coverage, version=version, **stored)


if __name__ == "__main__":
    main(*sys.argv[1:])
