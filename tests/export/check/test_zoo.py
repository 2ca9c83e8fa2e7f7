"""Every registered network exports in every mode and answers as Keras does, small and at full size."""

import pytest

from condconv_keras.export.check.export_check import ExportCheck
from condconv_keras.export.check.representative import Photographs, check_images
from condconv_keras.export.formats import TFLITE
from condconv_keras.export.manifest import write_cards
from condconv_keras.export.tflite.conversion import tflite_bytes
from condconv_keras.models import list_models
from condconv_keras.stored.untrained import untrained_model

# A family each; what they share is exported once. The first has squeeze and excitation, kernels of 3x3 and 5x5.
SMALL = ("condconv_mnasnet_a1", "condconv_mobilenet_v2", "condconv_efficientnet_lite0")

pytestmark = pytest.mark.slow  # the parts are tested beside it, whole exports by the commands


def assert_every_mode_passes(name, tmp_path, **arguments):
    model, card = untrained_model(name, **arguments)
    photographs = Photographs(trained=False)
    check = ExportCheck(model, card, check_images(photographs, card.preprocessing))
    calibration = card.preprocessing.evaluation_images(photographs.calibration())
    write_cards(tmp_path, card)
    for mode in TFLITE.values():
        path = tmp_path / mode.file_name
        path.write_bytes(tflite_bytes(model, card, mode.quantization, calibration))
        comparison, _ = check(path, mode)
        print(name, mode.quantization, path.stat().st_size, comparison)
        path.unlink()


@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name, tmp_path):
    width = {} if "efficientnet" in name else {"width_multiplier": 0.35}
    assert_every_mode_passes(name, tmp_path, num_experts=2, classes=10, input_shape=(64, 64, 3), **width)


@pytest.mark.parametrize("name", list_models(task="classification"))
def test_every_network_at_full_size(name, tmp_path):
    assert_every_mode_passes(name, tmp_path)
