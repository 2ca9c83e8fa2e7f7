"""The check refuses exports that are broken on purpose, as an exporter without it would have written them."""

import pytest

from condconv_keras.export.check.export_check import ExportCheck
from condconv_keras.export.check.representative import Photographs, check_images
from condconv_keras.export.formats import TFLITE
from condconv_keras.export.manifest import write_cards
from condconv_keras.export.tflite import mobile_layers
from condconv_keras.export.tflite.conversion import tflite_bytes
from condconv_keras.stored.untrained import untrained_model
from condconv_keras.utils.errors import UserError
from tests.sabotage import mix_kernels_of_first_image

pytestmark = pytest.mark.slow  # a detector's file with this fault is refused in `make test`, other faults beside it


@pytest.fixture(scope="module")
def network():
    arguments = {"width_multiplier": 0.25, "num_experts": 2, "classes": 10, "input_shape": (64, 64, 3)}
    return untrained_model("condconv_mobilenet_v1", **arguments)


@pytest.fixture
def check(network, tmp_path):
    """Exports the network in a mode and checks the file."""
    model, card = network
    photographs = Photographs(trained=False)

    def export_and_check(quantization):
        mode = TFLITE[quantization]
        calibration = card.preprocessing.evaluation_images(photographs.calibration())
        path = tmp_path / mode.file_name
        write_cards(tmp_path, card)
        path.write_bytes(tflite_bytes(model, card, quantization, calibration))
        return ExportCheck(model, card, check_images(photographs, card.preprocessing))(path, mode)[0]

    return export_and_check


@pytest.fixture
def run_time_kernels(monkeypatch):
    """At this size every other form would be chosen."""
    monkeypatch.setattr(mobile_layers, "_MIXTURE_PIXELS", dict.fromkeys(mobile_layers._MIXTURE_PIXELS, 0))


def test_int8_kernels_without_a_symmetric_range_are_refused(check, run_time_kernels, monkeypatch):
    assert check("int8").snr_db >= 20
    # As a stock conversion has it: the range of a run-time kernel is not symmetric, its zero point not 0.
    monkeypatch.setattr(mobile_layers.MobileCondConv, "_bounded", lambda self, kernel: kernel)
    with pytest.raises(UserError, match=r"model_int8\.tflite.*(SNR|zero_point)"):
        check("int8")


def test_experts_in_the_wrong_order_are_refused(check, monkeypatch):
    assert check("none").relative_error <= 1e-4
    right = mobile_layers.MobileCondConv.call

    def wrong(self, inputs, routing_weights=None):
        return right(self, inputs, routing_weights[:, ::-1])

    monkeypatch.setattr(mobile_layers.MobileCondConv, "call", wrong)
    with pytest.raises(UserError, match=r"model\.tflite differs from the Keras model .*relative error"):
        check("none")


def test_a_folded_shift_that_is_left_out_is_refused(check, network, monkeypatch):
    model, _ = network
    beta = model.get_layer("block_8_pointwise_bn").beta
    before = beta.numpy()
    beta.assign(before + 0.1)
    try:
        assert check("none").relative_error <= 1e-4
        of = mobile_layers.Bank.of
        monkeypatch.setattr(
            mobile_layers.Bank, "of", lambda *layers: mobile_layers.dataclasses.replace(of(*layers), shift=None)
        )
        with pytest.raises(UserError, match=r"model\.tflite differs from the Keras model"):
            check("none")
    finally:
        beta.assign(before)


@pytest.mark.parametrize("quantization", ["none", "float16", "dynamic", "int8"])
def test_the_kernels_of_the_first_image_for_all_are_refused(
    check, run_time_kernels, network, monkeypatch, quantization
):
    # TFLite has done so (tensorflow/tensorflow#31205).
    model, card = network
    check(quantization)
    mix_kernels_of_first_image(model, card, Photographs(trained=False), monkeypatch)
    with pytest.raises(UserError, match="differs from the Keras model"):
        check(quantization)
