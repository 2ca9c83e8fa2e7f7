"""One way to ask any stored model: a run folder, a `.keras` file, a SavedModel or a `.tflite` file.

Every predictor takes float32 images [batch, height, width, channels] in 0..255, already resized to the model's input.
That of a classifier returns float32 probabilities [batch, classes], that of a detector a dict as of
`condconv_keras.tasks.detection.detect`; NumPy arrays.
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable

from condconv_keras.facts.model_card import (
    CLASSIFICATION,
    DETECTION,
    FILE_NAME,
    ModelCard,
    archived_card,
    check_archive,
)
from condconv_keras.models.cards import registered_card
from condconv_keras.models.saving import load_model
from condconv_keras.stored import exported_detector
from condconv_keras.stored.litert import LiteRTModel, check_shapes, require_litert
from condconv_keras.tasks.table import get_task
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import MissingPackage, UserError
from condconv_keras.utils.keras_graph import compute_in_float32
from condconv_keras.utils.lazy import LazyModule, require
from condconv_keras.utils.lazy import tensorflow as tf

layers = LazyModule("condconv_keras.layers")


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A loaded model.

    Attributes:
        card: `ModelCard`.
        kind: `"keras"`, `"savedmodel"` or `"tflite"`.
        predict: function of images, see the module.
        model: the Keras model, or None for an export.
    """

    card: ModelCard
    kind: str
    predict: Callable
    model: object = None

    @property
    def parameters(self):
        """The number of trainable scalars, as papers and timm count parameters; None for an export.

        An export's constants need not be the network's.
        """
        if self.model is None:
            return None
        return sum(math.prod(weight.shape) for weight in self.model.trainable_weights)


def model_kind(path, raw=False):
    """Names what lies at a path, `"run"`, `"keras"`, `"savedmodel"` or `"tflite"`, without loading it.

    Args:
        path: path.
        raw: whether the last weights of a run are asked for instead of their moving average.

    Raises:
        UserError: nothing lies there, or something else, or it has no weights besides the average.
    """
    path = pathlib.Path(path)
    kind = _kind(path)
    if raw:
        _check_raw(path, kind)
    return kind


def _kind(path):
    if not path.exists():
        raise UserError(
            f"expected a run folder, .keras file, SavedModel or .tflite file, nothing lies at {str(path)!r}"
        )
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "savedmodel"
        if RunFolder.is_run(path):
            if not RunFolder(path).model.is_file():
                raise UserError(f"the run in {str(path)!r} has no model.keras yet; let its train.py command finish")
            check_archive(RunFolder(path).model)
            return "run"
        if (path / FILE_NAME).is_file():
            raise UserError(f"{str(path)!r} holds exports; give one of them: {', '.join(_exports(path))}")
    elif path.suffix == ".keras":
        check_archive(path)
        return "keras"
    elif path.suffix == ".tflite":
        return "tflite"
    raise UserError(f"expected a run folder, .keras file, SavedModel or .tflite file, {str(path)!r} is none of them")


def _exports(folder):
    """The names of the exported files in a folder."""
    return sorted(p.name for p in folder.iterdir() if p.suffix == ".tflite" or (p / "saved_model.pb").is_file())


def _check_raw(path, kind):
    if kind != "run":
        raise UserError(f"only a run folder keeps the weights before averaging, {str(path)!r} is none")
    run = RunFolder(path)
    if not run.raw_model.is_file():
        raise UserError(
            f"the run in {str(path)!r} has no {run.raw_model.name}: its recipe does not average the weights, and "
            f"{run.model.name} has the last ones"
        )
    check_archive(run.raw_model)


def open_predictor(path, raw=False, num_threads=None):
    """Loads the classifier or detector at a path.

    Args:
        path: run folder, `.keras` file, SavedModel or `.tflite` file.
        raw: whether to load the last weights of a run instead of their moving average.
        num_threads: of a `.tflite` file's interpreter, or None for LiteRT's choice.

    Raises:
        UserError: there is none, or it is corrupt.
        MissingPackage: a package that it needs is not installed.
    """
    path = pathlib.Path(path)
    kind = model_kind(path, raw)
    require_packages(path)
    if kind == "savedmodel":
        card = exported_card(path, kind)
        return Predictor(card, kind, _SAVED_MODEL_PREDICT[card.task](load_saved_model(path)))
    if kind == "tflite":
        card = exported_card(path, kind)
        return Predictor(card, kind, _TFLITE_PREDICT[card.task](path, card, num_threads))
    model, card = load_carded(weights_file(path, kind, raw))
    predict = get_task(card.task).keras_predict(model, card)
    return Predictor(card, "keras", predict, model)


def model_task(path):
    """Names the task of the model at a path, one of `TASKS`, without loading it; a model without a card classifies."""
    path = pathlib.Path(path)
    kind = model_kind(path)
    if kind == "run":
        return RunFolder(path).read_config().task
    if kind == "keras":
        card = archived_card(path)
        return CLASSIFICATION if card is None else card.task
    return exported_card(path, kind).task


def require_packages(path):
    """Raises a `MissingPackage` unless the packages that the model at a path needs are installed; loads nothing."""
    kind = model_kind(path)
    if kind == "tflite":
        require_litert()
    elif kind == "savedmodel":
        require("tensorflow")
    else:
        get_task(model_task(path)).require()


def weights_file(path, kind, raw=False):
    """Returns the path of the `.keras` file of a run folder, or of one that is it; `kind` is its `model_kind`."""
    if kind != "run":
        return path
    return RunFolder(path).raw_model if raw else RunFolder(path).model


def exported_card(path, kind):
    """Returns the `ModelCard` of a SavedModel or a `.tflite` file; raises a `UserError` if it has none.

    Args:
        path: path of the export.
        kind: its `model_kind`.
    """
    path = pathlib.Path(path)
    return _read_card(path / "assets.extra" / FILE_NAME if kind == "savedmodel" else path.parent / FILE_NAME)


def load_carded(path):
    """Loads a `.keras` model with the outputs of its card's task and classes, and the card.

    The model computes in float32, its batch normalizations as of `use_fused_batch_norm`.

    Arguments and errors as in `open_predictor`.
    """
    model, card = load_model(path)
    if card is None:
        card = registered_card(model)
    if card is None:
        raise UserError(
            f"{str(path)!r} does not say which classes and which preprocessing its model has; save it with "
            "condconv_keras.model_card.save_model"
        )
    if not get_task(card.task).fits(model, len(card.class_names)):
        raise UserError(
            f"expected a model for {card.task} with {len(card.class_names)} classes, the model in {str(path)!r} has "
            f"the output {model.output_shape}"
        )
    compute_in_float32(model)
    return layers.use_fused_batch_norm(model), card


def load_saved_model(path):
    """Loads an exported SavedModel; raises a `UserError` if it is none.

    The object owns the variables: a signature alone does not keep them alive.
    """
    try:
        loaded = tf.saved_model.load(path)
        _ = loaded.signatures["serving_default"]
    except MissingPackage:
        raise
    except Exception as error:
        raise UserError(f"expected a SavedModel written by `python -m export`, {str(path)!r} is none") from error
    return loaded


def _saved_classifier(loaded):
    def predict(images):
        return loaded.signatures["serving_default"](images=tf.convert_to_tensor(images))["probabilities"].numpy()

    return predict


def _tflite_classifier(path, card, num_threads):
    model = LiteRTModel(path, num_threads)
    check_shapes(
        path,
        (model.input.shape, model.output.shape),
        ((1, *card.preprocessing.input_shape), (1, len(card.class_names))),
    )
    return model.predict


_SAVED_MODEL_PREDICT = {CLASSIFICATION: _saved_classifier, DETECTION: exported_detector.saved_detector}
_TFLITE_PREDICT = {CLASSIFICATION: _tflite_classifier, DETECTION: exported_detector.tflite_detector}


def _read_card(path):
    if not path.is_file():
        raise UserError(f"expected the classes and preprocessing of the model in {str(path)!r}, which does not exist")
    try:
        return ModelCard.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"expected a model card in {str(path)!r} ({error})") from error
