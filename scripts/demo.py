"""`make demo`: the whole job on real handwritten digits, with the commands a user would type.

Trains a plain network and its CondConv twin with three seeds each, exports the first twin to SavedModel and TFLite,
evaluates both on the same held-out images, classifies a few of them from files, looks for dead experts, writes a page
that runs the twin in a browser (not without npm), and prints what the experts gain and how to open the page. Every demo
gets a folder of its own under `runs/`; `demo.json` there has the figures.
"""

import pathlib
import subprocess
import sys
import time

from condconv_keras.export.web.page import how_to_open
from condconv_keras.utils.files import write_text
from condconv_keras.utils.json_text import json_text
from scripts.commands import call, new_folder, write_held_out

SETTING = "digits"  # of `condconv_keras.experiments.gain`
SEEDS = 3
MINIMUM_ACCURACY = 0.88
NUM_IMAGES = 6
_NAME = 12  # characters


def main():
    start = time.monotonic()
    run = new_folder("runs/demo")
    gain = call(
        *("-m", "condconv_keras.experiments.gain", f"--setting={SETTING}", f"--seeds={SEEDS}", "--jobs=2"),
        f"--output_dir={run}/gain",
    )
    trained = time.monotonic()
    twin, exported = run / "gain/twin-seed_0", run / "exported"
    call("-m", "export", f"--model={twin}", f"--output_dir={exported}")
    stored = {"Keras": twin, "SavedModel": exported / "saved_model", "TFLite": exported / "model.tflite"}
    results = {name: call("eval.py", f"--model={path}", "--dataset=digits") for name, path in stored.items()}
    images = write_images(run / "images")
    predicted = call("predict.py", f"--model={stored['TFLite']}", "--top_k=1", images)["predictions"]
    layers = call("analyze.py", f"--model={twin}", f"--output_dir={run}/routing")["layers"]
    page = write_page(twin, run / "browser")
    seconds = {"training": round(trained - start, 1), "everything": round(time.monotonic() - start, 1)}
    figures = {"gain": gain, "stored": results, "layers": layers, "seconds": seconds}
    write_text(run / "demo.json", json_text(figures) + "\n")
    examples = results["Keras"]["examples"]
    print(f"\na separable network and its CondConv twin on {examples} held-out handwritten digits")
    for table in (gain_table(gain), stored_table(results), dead_experts(layers, gain), predictions(predicted)):
        print(f"\n{table}")
    print(f"\ntraining {seconds['training']:.0f} s, everything {seconds['everything']:.0f} s; it is all in {run}")
    print(f"\n{page}")
    if (error := what_exports_lost(results)) is not None:
        sys.exit(f"error: {error}")


def write_images(folder):
    """Writes the first held-out digits as PNG files named by their class; returns the folder."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from condconv_keras.data import open_dataset

    dataset = open_dataset("digits")
    return write_held_out(dataset, folder, NUM_IMAGES, lambda i, label: f"{i}_is_{dataset.class_names[int(label)]}.png")


def write_page(twin, folder):
    """Writes the page of a stored model; returns the line that says how to open it, or why there is none."""
    command = ["-m", "export", f"--model={twin}", f"--output_dir={folder}", "--formats=web"]
    print("$ python", *command, file=sys.stderr, flush=True)
    finished = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    if finished.returncode:
        reason = finished.stderr.strip().rpartition("\n")[-1].removeprefix("error: ")
        return f"no page for a browser: {reason}"
    return f"a page that runs the twin in a browser: {how_to_open(folder / 'web')}"


def gain_table(gain):
    """Returns the lines that compare the sides, from the JSON object of `condconv_keras.experiments.gain`."""
    costs = {row["side"]: row for row in gain["sides"]}
    seeds = range(gain["seeds"])
    lines = [f"{'top-1':<{_NAME}}" + "".join(f"{f'seed {seed}':>8}" for seed in seeds)]
    lines[0] += f"{'mean':>8}{'multiply-adds':>15}{'parameters':>12}"
    for side in ("plain", "twin"):
        cost = costs[side]
        values = "".join(f"{value:>8.4f}" for value in (*gain[side], cost["mean"]))
        lines.append(f"{side:<{_NAME}}{values}{cost['multiply_adds']:>15,}{cost['parameters']:>12,}")
    differences = [twin - plain for plain, twin in zip(gain["plain"], gain["twin"], strict=True)]
    values = "".join(f"{value:>+8.4f}" for value in (*differences, gain["difference"]))
    lines.append(f"{'difference':<{_NAME}}{values}, standard error {gain['standard_error']:.4f}")
    return "\n".join(lines)


def stored_table(results):
    """Returns the accuracy of the first twin in every form, from a dict of name to the JSON object of `eval.py`."""
    lines = [f"{'twin, seed 0':<{_NAME}}{'top-1':>8}{'top-5':>8}{'loss':>8}"]
    for name, result in results.items():
        lines.append(f"{name:<{_NAME}}{result['top_1']:>8.4f}{result['top_5']:>8.4f}{result['loss']:>8.4f}")
    return "\n".join(lines)


def dead_experts(layers, gain):
    """Returns the line of dead experts: those of the first twin on the test, and the most that a twin had in training.

    Args:
        layers: of `analyze.py`'s JSON object.
        gain: JSON object of `condconv_keras.experiments.gain`.
    """
    experts = sum(layer["experts"] for layer in layers)
    counts = {layer["layer"]: len(layer["dead"]) for layer in layers if layer["dead"]}
    where = ", ".join(f"{name} {count}" for name, count in counts.items())
    dead = f"{sum(counts.values())} ({where})" if counts else "none"
    (most,) = (side["dead_experts"] for side in gain["sides"] if side["side"] == "twin")
    return f"dead experts: {dead} of {experts} in {len(layers)} layers of seed 0, {most} at most in training, all seeds"


def predictions(predicted):
    """Returns a line for each image, from the `predictions` of `predict.py`'s JSON object."""
    best = [(pathlib.Path(prediction["image"]).name, prediction["classes"][0]) for prediction in predicted]
    return "\n".join(f"{image}: {found['name']} ({found['probability']:.3f})" for image, found in best)


def what_exports_lost(results):
    """Returns what is wrong with the accuracies in every form, or None: too low, or not the same to within an image."""
    top_1 = {name: result["top_1"] for name, result in results.items()}
    correct = [round(result["top_1"] * result["examples"]) for result in results.values()]
    if min(top_1.values()) >= MINIMUM_ACCURACY and max(correct) - min(correct) <= 1:
        return None
    received = ", ".join(f"{name} {value:.4f}" for name, value in top_1.items())
    return (
        f"expected an accuracy of {MINIMUM_ACCURACY} or more that the exports keep to within one image, "
        f"received: {received}"
    )


if __name__ == "__main__":
    main()
