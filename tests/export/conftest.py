"""A small detector and its networks as `.tflite` files, made once for all tests that look at them."""

import keras
import numpy as np
import pytest

from condconv_keras.export.check.representative import check_images, prepared
from condconv_keras.export.formats import TFLITE
from condconv_keras.export.tflite.conversion import tflite_bytes
from tests.export.detectors import PHOTOGRAPHS, small_detector


@pytest.fixture(scope="session")
def detector():
    """A Keras detector and its card."""
    return small_detector()


@pytest.fixture(scope="session")
def detector_images(detector):
    """Images that the detector is checked on, float32 in 0..255."""
    return np.round(check_images(PHOTOGRAPHS, detector[1].preprocessing))


@pytest.fixture(scope="session")
def raw_detectors(detector, made_once):
    """Dict of mode to the bytes of the detector's file with raw outputs."""

    def convert(folder):
        folder.mkdir()
        keras.utils.set_random_seed(0)
        model, card = detector
        calibration = prepared(PHOTOGRAPHS.calibration(), card.preprocessing)
        for mode in TFLITE:
            (folder / mode).write_bytes(tflite_bytes(model, card, mode, calibration, raw_outputs=True))

    folder = made_once("raw_detectors", convert)
    return {mode: (folder / mode).read_bytes() for mode in TFLITE}
