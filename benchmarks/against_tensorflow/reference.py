"""The TensorFlow side: the network, the loss and the optimiser of Keras, run on the job that ``__main__`` wrote.

python reference.py JOB.npz RESULT.npz float32|float64 STEPS

Imports TensorFlow and NumPy only, so that it runs where nothing of this project is installed. Layers are Keras' own
but for attention; names are those of the project's network, so that weights can be handed over by name.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
import tensorflow as tf

layers = tf.keras.layers
EPSILON = 1e-7


class WarmUp(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Linear from 0, then constant."""

    def __init__(self, rate: float, steps: int) -> None:
        self.rate, self.steps = rate, steps

    def __call__(self, step: Any) -> Any:
        return self.rate * tf.minimum(tf.cast(step, tf.keras.backend.floatx()) / self.steps, 1.0)


class Attention(layers.Layer):
    """Attention with the two biases of Transformer-XL and central masks as relative positions, in the dense form."""

    def __init__(self, name: str, heads: int, key_size: int, features: int, l2: float) -> None:
        super().__init__(name=name)
        self.heads, self.key_size, self.features, self.l2 = heads, key_size, features, l2

    def build(self, shape: Any) -> None:
        tokens, channels = int(shape[1]), int(shape[2])
        regular = tf.keras.regularizers.L2(self.l2)
        inner = self.heads * self.key_size

        def matrix(name: str, rows: int, columns: int) -> Any:
            return self.add_weight(name=name, shape=(rows, columns), regularizer=regular)

        self.content_bias = self.add_weight(name="content_bias", shape=(1, self.heads, 1, self.key_size))
        self.position_bias = self.add_weight(name="position_bias", shape=(1, self.heads, 1, self.key_size))
        self.query, self.key = matrix("query", channels, inner), matrix("key", channels, inner)
        self.value, self.out = matrix("value", channels, channels), matrix("out", channels, channels)
        self.out_bias = self.add_weight(name="out_bias", shape=(channels,))
        self.relative_key = matrix("relative_key", self.features, inner)
        half = self.features // 2
        rate = np.float32(np.exp(np.log(tokens + 1) / half))
        widths = rate ** np.arange(1, half + 1, dtype=np.float32) - np.float32(1)
        distance = np.arange(1 - tokens, tokens, dtype=np.float32)
        masks = (widths > np.abs(distance)[:, None]).astype(np.float32)
        basis = np.concatenate([masks, np.sign(distance)[:, None] * masks], axis=1)
        self.positions = tf.constant(basis, self.dtype)

    def call(self, x: Any) -> Any:
        tokens = x.shape[1]

        def split(y: Any) -> Any:
            return tf.transpose(tf.reshape(y, (-1, y.shape[-2], self.heads, y.shape[-1] // self.heads)), (0, 2, 1, 3))

        query = split(x @ self.query) * self.key_size**-0.5
        content = tf.matmul(query + self.content_bias, split(x @ self.key), transpose_b=True)
        relative = split((self.positions @ self.relative_key)[None])
        rows = tf.matmul(query + self.position_bias, relative, transpose_b=True)
        # Row i of the logits begins at distance -i, column tokens - 1 - i: a pad and a reshape move each row by one.
        rows = tf.pad(rows, ((0, 0), (0, 0), (0, 0), (1, 0)))
        rows = tf.reshape(rows, (-1, self.heads, 2 * tokens, tokens))[:, :, 1:]
        rows = tf.reshape(rows, (-1, self.heads, tokens, 2 * tokens - 1))[..., :tokens]
        mixed = tf.nn.softmax(content + rows) @ split(x @ self.value)
        mixed = tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (-1, tokens, x.shape[2]))
        return mixed @ self.out + self.out_bias


def network(model: dict[str, Any]) -> tf.keras.Model:
    """Build the layers of a params.json, without dropout, with its human head."""
    blocks = {block["name"]: block for block in model["trunk"]}
    stem, tower, tall = blocks["conv_dna"], blocks["res_tower"], blocks["transformer_tower"]
    unets = [block for block in model["trunk"] if block["name"] == "unet_conv"]
    growth = (tower["filters_end"] / tower["filters_init"]) ** (1 / (tower["repeat"] - 1))
    unit = tower["divisible_by"]
    widths = [int(np.round(tower["filters_init"] * growth**i / unit)) * unit for i in range(tower["repeat"])]
    regular = tf.keras.regularizers.L2(model["l2_scale"])
    calm = tf.keras.regularizers.L2(tall["l2_scale"])

    def active(x: Any, name: str) -> Any:
        x = layers.BatchNormalization(momentum=model["bn_momentum"], name=name)(x)
        return tf.keras.activations.gelu(x, approximate=True)

    def conv(x: Any, filters: int, width: int, name: str) -> Any:
        return layers.Conv1D(filters, width, padding="same", kernel_regularizer=regular, name=name)(x)

    x = inputs = layers.Input((model["seq_length"], 4))
    x = layers.MaxPool1D(2)(conv(x, stem["filters"], stem["kernel_size"], "stem"))
    skips = []
    for index, filters in enumerate(widths):
        x = conv(active(x, f"tower.{index}.norm"), filters, tower["kernel_size"], f"tower.{index}.conv")
        skips.append(x)
        x = layers.MaxPool1D(2)(x)
    channels = widths[-1]
    for index in range(tall["repeat"]):
        name = f"transformer.{index}"
        h = layers.LayerNormalization(epsilon=1e-3, name=f"{name}.norm_attention")(x)
        sizes = (tall["heads"], tall["key_size"], tall["num_position_features"], tall["mha_l2_scale"])
        x = x + Attention(f"{name}.attention", *sizes)(h)
        h = layers.LayerNormalization(epsilon=1e-3, name=f"{name}.norm_dense")(x)
        h = layers.Dense(2 * channels, kernel_regularizer=calm, name=f"{name}.dense_up")(h)
        x = x + layers.Dense(channels, kernel_regularizer=calm, name=f"{name}.dense_down")(tf.nn.relu(h))
    for index, block in enumerate(unets):
        name = f"unet.{index}"
        skip = skips[-1 - index]
        x, skip = active(x, f"{name}.norm"), active(skip, f"{name}.norm_skip")
        x = layers.Dense(channels, kernel_regularizer=regular, name=f"{name}.dense")(x)
        skip = layers.Dense(channels, kernel_regularizer=regular, name=f"{name}.dense_skip")(skip)
        x = layers.UpSampling1D(2)(x) + skip
        x = layers.SeparableConv1D(channels, block["kernel_size"], padding="same", name=f"{name}.separable")(x)
    x = layers.Cropping1D(model["trunk"][-1]["cropping"])(x)
    x = tf.keras.activations.gelu(x, approximate=True)
    head = model["head_human"]
    x = layers.Dense(head["units"], activation=head["activation"], kernel_regularizer=regular, name="head")(x)
    return tf.keras.Model(inputs, x)


def named(model: tf.keras.Model) -> dict[str, tuple[Any, Callable[[np.ndarray], np.ndarray]]]:
    """Return each variable under the project's name, and how its axes are brought to those of the project."""

    def same(x: np.ndarray) -> np.ndarray:
        return x

    def turned(x: np.ndarray) -> np.ndarray:
        return x.T

    found: dict[str, tuple[Any, Callable[[np.ndarray], np.ndarray]]] = {}
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization | layers.LayerNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            found |= {f"{layer.name}.{name}": (item, same) for name, item in zip(names, layer.weights, strict=False)}
        elif isinstance(layer, Attention):
            for name in ("query", "key", "value", "out", "relative_key"):
                found[f"{layer.name}.{name}.weight"] = getattr(layer, name), turned
            for name in ("content_bias", "position_bias"):
                found[f"{layer.name}.{name}"] = getattr(layer, name), same
            found[f"{layer.name}.out.bias"] = layer.out_bias, same
        elif isinstance(layer, layers.SeparableConv1D):
            prefix = layer.name.removesuffix(".separable")
            found[f"{prefix}.depthwise.weight"] = layer.depthwise_kernel, lambda x: x.transpose(1, 2, 0)
            found[f"{prefix}.pointwise.weight"] = layer.pointwise_kernel, turned
            found[f"{prefix}.pointwise.bias"] = layer.bias, same
        elif layer.weights:
            pointwise = layer.name.startswith("unet")  # a convolution of width 1 there, a dense layer here
            found[f"{layer.name}.weight"] = layer.kernel, (lambda x: x.T[..., None]) if pointwise else turned
            found[f"{layer.name}.bias"] = layer.bias, same
    return found


def poisson_multinomial(target: Any, prediction: Any, total_weight: float) -> Any:
    """Return the mean loss of (batch, bins, tracks)."""
    bins = float(prediction.shape[1])
    predicted, wanted = tf.reduce_sum(prediction, 1, keepdims=True), tf.reduce_sum(target, 1, keepdims=True)
    poisson = tf.reduce_mean(predicted - wanted * tf.math.log(predicted + EPSILON), axis=1) / bins
    share = tf.math.log((prediction + EPSILON) / predicted)
    multinomial = -tf.reduce_sum((target + EPSILON) * share, axis=1) / bins
    return tf.reduce_mean(multinomial + total_weight * poisson)


def read_windows(files: list[str], length: int, bins: int, tracks: int) -> tuple[np.ndarray, np.ndarray]:
    """Read Calico's TFRecords: codes (windows, length) and targets (windows, bins, tracks)."""
    features = {"sequence": tf.io.FixedLenFeature([], tf.string), "target": tf.io.FixedLenFeature([], tf.string)}
    codes, targets = [], []
    for record in tf.data.TFRecordDataset(files, compression_type="ZLIB"):
        parsed = tf.io.parse_single_example(record, features)
        codes.append(tf.io.decode_raw(parsed["sequence"], tf.uint8).numpy())
        target = tf.cast(tf.io.decode_raw(parsed["target"], tf.float16), tf.float32)
        targets.append(tf.reshape(target, (bins, tracks)).numpy())
    return np.stack(codes).reshape(-1, length), np.stack(targets)


def augmented(codes: np.ndarray, target: np.ndarray, turn: bool, shift: int, pairs: np.ndarray) -> tuple[Any, Any]:
    """Return one-hot DNA and targets as the layers of the reference make them: reverse complement, then shift."""
    kind = tf.keras.backend.floatx()
    onehot = tf.one_hot(codes, 5, dtype=kind)[..., :4]
    if turn:
        onehot, target = tf.reverse(onehot, (1, 2)), tf.gather(tf.reverse(target, (1,)), pairs, axis=2)
    if shift > 0:
        onehot = tf.pad(onehot[:, :-shift], ((0, 0), (shift, 0), (0, 0)))
    elif shift < 0:
        onehot = tf.pad(onehot[:, -shift:], ((0, 0), (0, -shift), (0, 0)))
    return onehot, tf.cast(target, kind)


def main(job_path: str, result_path: str, kind: str, steps: str) -> None:
    """Train, and write losses, norms, and the first prediction and gradients."""
    job = np.load(job_path)
    facts = json.loads(str(job["facts"]))
    tf.config.threading.set_intra_op_parallelism_threads(facts["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.backend.set_floatx(kind)
    params, recipe = facts["params"], facts["recipe"]
    model = network(params["model"])
    length, bins, tracks = model.input_shape[1], *model.output_shape[1:]
    variables = named(model)
    given = {name.removeprefix("weights/") for name in job.files if name.startswith("weights/")}
    if given != set(variables) or len(variables) != len(model.weights):
        raise SystemExit(f"weights differ by name: {sorted(given ^ set(variables))}")
    for name, (variable, turn) in variables.items():
        value, axes = job[f"weights/{name}"], turn(np.arange(np.prod(variable.shape)).reshape(variable.shape))
        flat = np.empty(value.size, np.float32)
        flat[axes.ravel()] = value.ravel()  # the way back of any transposition
        variable.assign(flat.reshape(variable.shape))
    codes, targets = read_windows(facts["files"], length, bins, tracks)
    adam = tf.keras.optimizers.Adam(
        WarmUp(recipe["learning_rate"], recipe["warmup_steps"]),
        recipe["adam_beta1"],
        recipe["adam_beta2"],
        EPSILON,
        global_clipnorm=recipe["clip_norm"],
    )
    trained = model.trainable_variables

    @tf.function
    def step(onehot: Any, target: Any) -> tuple[Any, ...]:
        with tf.GradientTape() as tape:
            prediction = model(onehot, training=True)
            loss = poisson_multinomial(target, prediction, recipe["total_weight"])
            penalty = tf.add_n(model.losses)
            total = loss + penalty
        gradients = tape.gradient(total, trained)
        adam.apply_gradients(zip(gradients, trained, strict=True))
        return loss, penalty, tf.linalg.global_norm(gradients), prediction, gradients

    log, result, start = [], {}, 0.0
    draws = list(zip(job["order"], job["turns"], job["shifts"], strict=True))[: int(steps)]
    for number, (chosen, turn, shift) in enumerate(draws):
        batch = augmented(codes[chosen], targets[chosen], bool(turn), int(shift), job["pairs"])
        loss, penalty, norm, prediction, gradients = step(*batch)
        log.append((float(loss), float(penalty), float(norm)))
        if number == 0:
            result["prediction"] = prediction.numpy().transpose(0, 2, 1)
            slopes = {variable.ref(): gradient.numpy() for variable, gradient in zip(trained, gradients, strict=True)}
            for name, (variable, way) in variables.items():
                if variable.ref() in slopes:
                    result[f"gradients/{name}"] = way(slopes[variable.ref()])
            start = time.perf_counter()
    seconds = (time.perf_counter() - start) / max(len(log) - 1, 1)
    version = ", ".join(f"{name} {metadata.version(name)}" for name in ("tensorflow-cpu", "keras", "numpy"))
    np.savez(result_path, log=np.array(log), version=version, seconds=seconds, **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
