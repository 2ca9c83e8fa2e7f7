import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data import Preprocessing
from condconv_keras.export.manifest import write_cards
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.serving.litert import LiteRTModel, Tensor
from condconv_keras.stored import StoredModel
from condconv_keras.utils.errors import UserError

CARD = ModelCard("small", ("a", "b", "c"), Preprocessing((4, 4), 1, 0.0, 255.0))


class _Classifier(tf.Module):
    def __init__(self, signature="images", output="probabilities", batch=1):
        super().__init__()
        kernel = tf.constant(np.random.default_rng(0).standard_normal((16, 3)), tf.float32)
        spec = tf.TensorSpec((batch, 4, 4, 1), tf.float32, name=signature)

        def classify(images):
            return {output: tf.nn.softmax(tf.reshape(images, (batch, 16)) / 255 @ kernel)}

        self.classify = tf.function(classify, input_signature=[spec])


def _convert(folder, number_type, module=None):
    """A file that takes, computes and returns numbers of one type."""
    module = module or _Classifier()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.classify.get_concrete_function()], module)
    if number_type != tf.float32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in _images())
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = number_type
    path = folder / "model.tflite"
    path.write_bytes(converter.convert())
    write_cards(folder, CARD)
    return path


def _images():
    images = np.random.default_rng(1).uniform(0, 255, (8, 4, 4, 1)).astype(np.float32)
    images[0], images[1] = 0, 255
    return images


@pytest.mark.parametrize(
    ("number_type", "tolerance"),
    [(tf.float32, 1e-6), (tf.uint8, 0.03), (tf.int8, 0.03)],
    ids=["float32", "uint8", "int8"],
)
def test_every_number_type_takes_pixels_and_returns_probabilities(tmp_path, number_type, tolerance):
    path = _convert(tmp_path, number_type)
    expected = np.concatenate([_Classifier().classify(image[np.newaxis])["probabilities"] for image in _images()])
    for threads in (None, 1, 4):
        received = StoredModel.open(path).predictor(threads).predict(_images())
        assert received.dtype == np.float32
        assert received.shape == (8, 3)
        np.testing.assert_allclose(received, expected, atol=tolerance)
    model = LiteRTModel(path)
    assert model.input.dtype == model.output.dtype == number_type.as_numpy_dtype
    assert model.input.shape == (1, 4, 4, 1)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8])
def test_a_file_of_a_batch_answers_any_number_of_images(tmp_path, count):
    path = _convert(tmp_path, tf.float32, _Classifier(batch=4))
    model = LiteRTModel(path)
    assert (model.batch_size, model.input.shape, model.output.shape) == (4, (4, 4, 4, 1), (4, 3))
    expected = np.concatenate([_Classifier().classify(image[np.newaxis])["probabilities"] for image in _images()])
    received = StoredModel.open(path).predictor().predict(_images()[:count])
    np.testing.assert_allclose(received, expected[:count], atol=1e-6)


def test_a_batch_is_filled_up_with_its_last_image(tmp_path, monkeypatch):
    """Zeros might be what no image is, and would share the scale of activations that are quantized as they come."""
    model = LiteRTModel(_convert(tmp_path, tf.float32, _Classifier(batch=4)))
    runner, given = model._runner, []
    monkeypatch.setattr(model, "_runner", lambda images: given.append(images) or runner(images=images))
    model.run(_images()[:6])
    first, second = given
    np.testing.assert_array_equal(first, _images()[:4])
    np.testing.assert_array_equal(second, _images()[[4, 5, 5, 5]])


def test_quantization_rounds_half_to_even_and_clips():
    tensor = Tensor((1,), np.dtype(np.int8), 1.0, -128)
    pixels = [-3.0, 0.0, 0.4, 0.5, 1.5, 2.5, 254.6, 300.0]
    np.testing.assert_array_equal(
        tensor.quantize(pixels), np.array([-128, -128, -128, -128, -126, -126, 127, 127], np.int8)
    )
    np.testing.assert_array_equal(tensor.dequantize(np.array([-128, 0, 127], np.int8)), [0, 128, 255])
    coarse = Tensor((1,), np.dtype(np.uint8), 2.0, 10)
    np.testing.assert_array_equal(coarse.quantize([20.0, -40.0]), [20, 0])
    assert coarse.dequantize(np.array([20], np.uint8)) == [20.0]
    pixels = Tensor((1,), np.dtype(np.uint8), 0.0, 0)
    np.testing.assert_array_equal(pixels.quantize([254.6, 0.4, 0.6, 255.4]), [255, 0, 1, 255])
    floats = Tensor((1,), np.dtype(np.float32), 0.0, 0)
    assert floats.quantize([0.25]) == floats.dequantize(np.array([0.25], np.float32)) == [0.25]


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\0\0\0TFL3" + bytes(200)], ids=["empty", "text", "zeros"])
def test_a_file_that_is_no_model(tmp_path, content):
    write_cards(tmp_path, CARD)
    (tmp_path / "model.tflite").write_bytes(content)
    with pytest.raises(UserError, match=r"LiteRT cannot load '.*model.tflite'") as error:
        StoredModel.open(tmp_path / "model.tflite").predictor()
    assert "\n" not in str(error.value)


def test_a_file_that_was_cut_short(tmp_path):
    path = _convert(tmp_path, tf.float32)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(UserError, match=r"model\.tflite"):
        StoredModel.open(path).predictor()


@pytest.mark.parametrize("names", [("x", "probabilities"), ("images", "y")])
def test_a_file_of_another_program(tmp_path, names):
    path = _convert(tmp_path, tf.float32, _Classifier(*names))
    with pytest.raises(UserError, match="has no signature 'serving_default' from 'images' to 'probabilities'"):
        StoredModel.open(path).predictor()


def test_int8_without_a_scale_is_refused(tmp_path):
    module = _Classifier()
    spec = tf.TensorSpec((1, 4, 4, 1), tf.int8, name="images")
    classify = module.classify
    module.classify = tf.function(lambda images: classify(tf.cast(images, tf.float32)), input_signature=[spec])
    with pytest.raises(UserError, match=r"model\.tflite' takes int8 without a scale"):
        LiteRTModel(_convert(tmp_path, tf.float32, module))


def test_probabilities_that_the_card_calls_logits_are_refused(tmp_path):
    path = _convert(tmp_path, tf.float32)
    (tmp_path / "model.json").write_text(dataclasses.replace(CARD, returns="logits").to_json())
    with pytest.raises(UserError, match=r"says that it returns logits, .* sum to 1 for every image"):
        StoredModel.open(path).predictor().predict(_images())


def test_a_card_of_another_model(tmp_path):
    path = _convert(tmp_path, tf.float32)
    write_cards(tmp_path, ModelCard("small", ("a", "b"), Preprocessing((4, 4), 1, 0.0, 255.0)))
    with pytest.raises(UserError, match=r"takes \(1, 4, 4, 1\) and returns \(1, 3\), its model.json is of a file"):
        StoredModel.open(path).predictor()


def test_a_folder_of_exports_says_what_it_holds(tmp_path):
    write_cards(tmp_path, CARD)
    for name in ("model_int8.tflite", "model_dynamic.tflite"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"give one of them: model_dynamic\.tflite, model_int8\.tflite$"):
        StoredModel.open(tmp_path)
