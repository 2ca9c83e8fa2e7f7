"""`make demo`: the whole job on real handwritten digits, with the commands a user would type.

Trains CondConv-MobileNetV1, evaluates it, exports it to SavedModel and TFLite, evaluates both on the same held-out
images, classifies a few of them from files, and prints one table. Every run gets a folder of its own under `runs/`.
"""

import json
import pathlib
import sys
import time

from scripts.commands import call, new_folder, write_held_out

MODEL = "condconv_mobilenet_v1"
MINIMUM_ACCURACY = 0.96
NUM_IMAGES = 6


def main():
    start = time.monotonic()
    run = new_folder("runs/demo")
    call("train.py", f"--model={MODEL}", "--width_multiplier=0.25", "--num_experts=4", f"--model_dir={run}/digits")
    exported = run / "exported"
    call("-m", "export", f"--model={run}/digits", f"--output_dir={exported}")
    stored = {
        "Keras": run / "digits",
        "SavedModel": exported / "saved_model",
        "TFLite": exported / "model.tflite",
    }
    results = {name: call("eval.py", f"--model={path}", "--dataset=digits") for name, path in stored.items()}
    images = write_images(run / "images")
    predicted = call("predict.py", f"--model={stored['TFLite']}", "--top_k=1", images)["predictions"]
    seconds = time.monotonic() - start
    print(report(results, predicted, json.loads((run / "digits/results.json").read_text()), seconds))
    correct = [round(result["top_1"] * result["examples"]) for result in results.values()]
    if min(result["top_1"] for result in results.values()) < MINIMUM_ACCURACY or max(correct) - min(correct) > 1:
        sys.exit(f"error: expected an accuracy of {MINIMUM_ACCURACY} that the exports keep to within one image")


def write_images(folder):
    """Writes the first held-out digits as PNG files named by their class; returns the folder."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from condconv_keras.data import open_dataset

    dataset = open_dataset("digits")
    return write_held_out(dataset, folder, NUM_IMAGES, lambda i, label: f"{i}_is_{dataset.class_names[int(label)]}.png")


def report(results, predicted, training, seconds):
    """Returns the table that the demo ends with."""
    lines = ["", f"{MODEL} on {next(iter(results.values()))['examples']} held-out handwritten digits", ""]
    lines.append(f"{'stored as':<12}{'top-1':>8}{'top-5':>8}{'loss':>8}")
    for name, result in results.items():
        lines.append(f"{name:<12}{result['top_1']:>8.4f}{result['top_5']:>8.4f}{result['loss']:>8.4f}")
    lines.append("")
    for prediction in predicted:
        best = prediction["classes"][0]
        lines.append(f"{pathlib.Path(prediction['image']).name}: {best['name']} ({best['probability']:.3f})")
    lines += ["", f"training {training['seconds']:.0f} s, everything {seconds:.0f} s"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
