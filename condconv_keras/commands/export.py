"""Exports a classifier or detector: `python -m export --model=runs/digits --output_dir=exported`.

--model is a run folder, a `.keras` file, a SavedModel that the command wrote before, or the name of a registered model:
with --weights=imagenet its published weights are downloaded once; without it the weights are random and the files show
their size and latency. The command writes `saved_model/` (any batch size), a `.tflite` file for each --quantization
(--batch_size images at a time), `labels.txt`, and `model.json`, which says how to feed the files and read their
answers. With --raw_outputs a detector's `.tflite` files leave non-maximum suppression out, and `anchors.json` lies
beside them. With --metadata MediaPipe's ImageClassifier takes a classifier's `.tflite` files as they are. With
--formats=web there is a page besides, `web/`, that runs one of the files in a browser.

The command loads every file and compares it with the Keras model on real images; where there is a labeled data set, the
run's or --dataset, it compares the accuracy too. It leaves out a file that differs, names it with the figures on
standard error and as `"refused"` in `model.json`, and ends with exit code 1. If no file passes, it writes nothing.
"""

import pathlib
import sys

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.commands.export_flags import MODEL_ARGUMENTS, chosen_formats, define_flags, has_page
from condconv_keras.commands.export_uses import check_uses
from condconv_keras.commands.model_flags import applied_orientation
from condconv_keras.data.bad_images import bad_images_named
from condconv_keras.data.dataset import VALIDATION_FRACTION
from condconv_keras.data.opening import is_folder
from condconv_keras.export.budget import Budget
from condconv_keras.export.check import representative
from condconv_keras.export.check.export_check import ExportCheck
from condconv_keras.export.folder import require_packages, write_folder
from condconv_keras.export.format import WriteOptions
from condconv_keras.export.tflite import metadata
from condconv_keras.export.web.litert_js import litert_files
from condconv_keras.export.web.page import WebPage, how_to_open
from condconv_keras.stored import StoredModel
from condconv_keras.tasks.table import get_task
from condconv_keras.training.run_data import labeled_dataset, open_run_dataset
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import checked_new_folder
from condconv_keras.utils.lazy import LazyModule

mobile_network = LazyModule("condconv_keras.export.tflite.mobile_network")
routers = LazyModule("condconv_keras.layers.routers")

FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    formats = chosen_formats(FLAGS)
    output = checked_new_folder(FLAGS.output_dir, "output_dir")
    stored = _open_model()
    check_uses(FLAGS, formats, stored)
    require_packages(formats, stored.task)
    page = WebPage(litert_files(FLAGS.litertjs), FLAGS.web_quantization) if has_page(FLAGS) else None
    dataset, remarks = _open_dataset(stored)
    calibration, checked = _image_sources(stored, dataset)
    if not stored.is_trained:
        _warn(f"{stored.name} has random weights: its files show size and latency, their answers mean nothing")
    model, card = stored.load_to_answer()
    card = card.with_orientation(applied_orientation(FLAGS, stored))
    _ = card.labels  # or its error, before the work
    if FLAGS.metadata:
        _check_metadata(card)
    if stored.is_trained and dataset is not None:
        dataset = labeled_dataset(dataset, card, remarks)
    if stored.is_trained and dataset is None:
        _warn("the files are not compared by their accuracy: for a model in use give --dataset")
    routing_outputs = _returns_routing(model, page)
    results = {"model": FLAGS.model, "output_dir": str(output)}
    if FLAGS.static_kernels:
        results["multiply_adds"] = _multiply_adds(model, card.preprocessing)

    with bad_images_named(dataset):
        images = representative.check_images(checked, card.preprocessing, FLAGS.batch_size)
        check = ExportCheck(model, card, images, dataset, FLAGS.check_examples, stored.is_trained, routing_outputs)
        calibrated = [file_format for file_format in formats if file_format.is_calibrated]
        calibration_images = _calibration_images(calibration, card, calibrated) if calibrated else None
        options = WriteOptions(
            calibration_images,
            FLAGS.static_kernels,
            FLAGS.int8_input,
            FLAGS.raw_outputs,
            FLAGS.batch_size,
            FLAGS.metadata,
            routing_outputs,
            Budget(FLAGS.float_bytes, FLAGS.float_multiply_adds) if stored.is_trained else None,
        )
        written = write_folder(output, formats, model, card, check, options, stored, page)
    results["files"], results["refused"] = [facts for facts, _ in written.files], written.refused
    if page is not None:
        results["web"] = written.page
    text = cli.to_json(results) if FLAGS.json else _summary(results, [text for _, text in written.files])
    for refused in written.refused:
        cli.print_error(refused["reason"])
    return text, 1 if written.refused else 0


def _open_model():
    """The stored model of --model; raises a `UserError` for an export without layers."""
    given = {name: FLAGS[name].value for name in ("seed", "input_size", *MODEL_ARGUMENTS) if FLAGS[name].present}
    stored = StoredModel.open(FLAGS.model, FLAGS.weights, untrained=True, **given)
    stored.check_layers()
    return stored


def _open_dataset(stored):
    """The data set whose held-out images check the files, or None, and what is to be known of it."""
    if stored.config is None and FLAGS.dataset is None:
        return None, []
    return open_run_dataset(
        stored.config,
        FLAGS.dataset,
        FLAGS.data_dir,
        FLAGS.validation_fraction,
        FLAGS.skip_bad_images,
        stored.task,
        apply_orientation=None,
        model_orientation=applied_orientation(FLAGS, stored),
        check_images=FLAGS.check_images,
    )


def _image_sources(stored, dataset):
    """Where the images to calibrate on, and those to check on, come from."""
    given = None if FLAGS.representative_data is None else _open_representative(stored, dataset)
    if dataset is not None:
        own = representative.DatasetImages(dataset)
    else:
        own = given or representative.Photographs(stored.is_trained)
    return given or own, own


def _open_representative(stored, dataset):
    name = FLAGS.representative_data
    data_dir = FLAGS.data_dir or (stored.config and stored.config.data_dir)
    if is_folder(name, data_dir):
        return representative.folder_images(name, dataset, applied_orientation(FLAGS, stored))
    if dataset is not None and name == dataset.name:
        return representative.DatasetImages(dataset)
    opened = get_task(stored.task).open_dataset(
        name, data_dir, VALIDATION_FRACTION, apply_orientation=applied_orientation(FLAGS, stored)
    )
    return representative.DatasetImages(opened)


def _calibration_images(calibration, card, formats):
    names = " and ".join(file_format.label for file_format in formats)
    if isinstance(calibration, representative.Photographs):
        _warn(f"{names} is calibrated on two photographs: for a model in use give --representative_data")
    images = card.preprocessing.evaluation_images(calibration.calibration())
    print(f"calibrating {names} on {len(images)} images", file=sys.stderr)
    return images


def _check_metadata(card):
    """Raises a `UserError` for a model that MediaPipe Tasks cannot run; warns of what it does otherwise."""
    metadata.check_card(card)
    if card.preprocessing.crop_fraction < 1:
        _warn(
            "MediaPipe Tasks gives the model the whole image, where evaluation takes its center "
            f"(`crop_fraction` {card.preprocessing.crop_fraction}): give it that region of interest"
        )


def _returns_routing(model, page):
    """Whether the `.tflite` files return routing weights: those of a page that can show them do unless told not to."""
    if FLAGS.routing_outputs and not routers.routers(model):
        raise UserError("--routing_outputs is for CondConv models, this one is plain")
    if FLAGS.routing_outputs is not None:
        return FLAGS.routing_outputs
    return page is not None and not FLAGS.metadata and bool(routers.routers(model))


def _multiply_adds(model, preprocessing):
    """Multiply-adds of an image with kernels that are mixed at run time, and with static ones."""
    shape = preprocessing.input_shape
    run_time, static = (mobile_network.multiply_adds(model, shape, static_kernels=static) for static in (False, True))
    if run_time == static:
        raise UserError("--static_kernels is for CondConv models, this one is plain")
    return {"run_time_kernels": run_time, "static_kernels": static, "ratio": round(static / run_time, 3)}


def _warn(text):
    print(f"warning: {text}", file=sys.stderr)


def _summary(results, texts):
    paths = [pathlib.Path(results["output_dir"], file["file"]) for file in results["files"]]
    rows = list(zip(paths, texts, strict=True))
    if "multiply_adds" in results:
        counts = results["multiply_adds"]
        text = f"{counts['static_kernels'] / 1e6:.1f} million multiply-adds, {counts['ratio']} times those of "
        rows.append(("static kernels", f"{text}run-time kernels ({counts['run_time_kernels'] / 1e6:.1f} million)"))
    if results.get("web"):
        page = results["web"]
        folder = pathlib.Path(results["output_dir"], page["folder"])
        rows.append((folder, f"{page['bytes'] / 1e6:.2f} MB, the page of {page['made_of']}: {how_to_open(folder)}"))
    return cli.table(rows)


def run():
    """Runs the command."""
    define_flags(FLAGS)
    cli.run(main)


if __name__ == "__main__":
    run()
