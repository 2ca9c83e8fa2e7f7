"""`make demo-detection`: a CondConv detector on scenes of handwritten digits, with the commands a user would type.

Trains SSD on CondConv-MobileNetV1, evaluates it on 200 scenes it has not seen, exports it to TFLite, evaluates the file
on the same scenes, and draws what it finds in a few of them. Every run gets a folder of its own under `runs/`.
"""

import pathlib
import sys
import time

from scripts.commands import call, new_folder, write_held_out

MODEL = "condconv_ssd300_mobilenet_v1"
MINIMUM_AP50 = 0.70
MAX_DIFFERENCE = 0.01  # of the AP of the exported file
NUM_SCENES = 4


def main():
    start = time.monotonic()
    run = new_folder("runs/demo-detection")
    call("train.py", f"--model={MODEL}", "--width_multiplier=0.25", "--num_experts=4", f"--model_dir={run}/scenes")
    exported = run / "exported"
    call("-m", "export", f"--model={run}/scenes", f"--output_dir={exported}", "--formats=tflite")
    stored = {"Keras": run / "scenes", "TFLite": exported / "model.tflite"}
    results = {name: call("eval.py", f"--model={path}", "--dataset=digit_scenes") for name, path in stored.items()}
    scenes = write_scenes(run / "images")
    found = call("predict.py", f"--model={stored['TFLite']}", f"--output_dir={run}/drawn", scenes)["predictions"]
    print(report(results, found, run, time.monotonic() - start))
    lost = abs(results["Keras"]["AP"] - results["TFLite"]["AP"])
    if min(result["AP50"] for result in results.values()) < MINIMUM_AP50 or lost > MAX_DIFFERENCE:
        sys.exit(
            f"error: expected an AP50 of {MINIMUM_AP50} and an export that keeps the AP to within {MAX_DIFFERENCE}"
        )


def write_scenes(folder):
    """Writes the first held-out scenes as PNG files; returns the folder."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from condconv_keras.data import open_detection_dataset

    dataset = open_detection_dataset("digit_scenes")
    return write_held_out(dataset, folder, NUM_SCENES, lambda i, _: f"scene_{i}.png")


def report(results, found, run, seconds):
    """Returns the table that the demo ends with."""
    lines = ["", f"{MODEL} on {results['Keras']['examples']} scenes of handwritten digits", ""]
    lines.append(f"{'stored as':<12}{'AP':>8}{'AP50':>8}{'AP75':>8}")
    for name, result in results.items():
        lines.append(f"{name:<12}{result['AP']:>8.4f}{result['AP50']:>8.4f}{result['AP75']:>8.4f}")
    lines.append("")
    for prediction in found:
        names = " ".join(box["name"] for box in prediction["boxes"])
        lines.append(f"{run}/drawn/{pathlib.Path(prediction['image']).name}: {names}")
    return "\n".join([*lines, "", f"everything {seconds:.0f} s"])


if __name__ == "__main__":
    main()
