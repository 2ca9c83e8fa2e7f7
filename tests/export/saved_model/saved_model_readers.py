"""Reads a SavedModel in every way that needs no code of this project: `saved_model_readers.py SAVED_MODEL FOLDER`.

FOLDER has `images.npy`, `files.npy` and `damaged.npy`. The last line printed is a JSON object of what each reader got.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.tools import saved_model_cli

path, folder = sys.argv[1:]
images, files = np.load(f"{folder}/images.npy"), np.load(f"{folder}/files.npy")


def cli(*arguments):
    sys.argv = ["saved_model_cli", *arguments]
    try:
        saved_model_cli.main()
    except SystemExit as end:
        assert not end.code


def run(signature, inputs, output):
    cli(
        "run",
        *f"--dir {path} --tag_set serve --signature_def {signature} --inputs {inputs}".split(),
        f"--outdir={folder}",
        "--overwrite",
    )
    return np.load(f"{folder}/{output}.npy").tolist()


cli("show", "--dir", path, "--all")
loaded = tf.saved_model.load(path)
results = {"load": loaded.serve_bytes(tf.constant(files))["probabilities"].numpy().tolist()}
endpoints = {"serving_default": ("uint8", "float32"), "serve": ("float32",), "serve_uint8": ("uint8",)}
for endpoint, dtypes in endpoints.items():
    layer = keras.layers.TFSMLayer(path, call_endpoint=endpoint)
    for dtype in dtypes:
        results[f"layer {endpoint} {dtype}"] = layer(images.astype(dtype))["probabilities"].numpy().tolist()
layer = keras.layers.TFSMLayer(path, call_endpoint="serve_bytes")(tf.constant(files))
results["layer serve_bytes"] = layer["probabilities"].numpy().tolist()
results["layer names"] = [name.decode() for name in layer["class_names"].numpy()]
results["cli uint8"] = run("serving_default", f"images={folder}/images.npy", "probabilities")
results["cli bytes"] = run("serve_bytes", f"image_bytes={folder}/files.npy", "probabilities")
try:
    run("serve_bytes", f"image_bytes={folder}/damaged.npy", "probabilities")
except tf.errors.InvalidArgumentError as error:
    results["cli error"] = error.message
results["ours"] = [name for name in sys.modules if name.startswith(("condconv", "export", "models"))]
print()
print(json.dumps(results))
