"""What the tests of the importers share."""

import functools
import pathlib

from condconv_keras.weights import import_weights
from tests.fixtures.timm import make_weights

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures" / "timm"


def import_into(name, source, output, arguments=None, **kwargs):
    """Imports a source as `python -m condconv_keras.weights` does; returns its `ImportedWeights`."""
    return import_weights(source, name, output, arguments=arguments or {}, **kwargs)


def timm_tensors(name):
    """The generated weights of a timm network, see tests/fixtures/README.md."""
    return make_weights.generate(make_weights.load_manifest(FIXTURES / f"manifest_{name}.json"))


# A timm checkpoint of MobileNetV1 for ten classes, a quarter as wide: quick to import.
QUARTER_WIDTH = {"width_multiplier": 0.25}


def quarter_width_tensors():
    """The weights of `QUARTER_WIDTH`, by timm's names."""
    tensors = {}
    for key, entry in make_weights.load_manifest(FIXTURES / "manifest_mobilenetv1_100.json")["tensors"].items():
        shape = [10 if side == 1000 else side // 4 if side > 10 else side for side in entry["shape"]]
        fan_in = entry.get("fan_in") and int(functools.reduce(lambda a, b: a * b, shape[1:]))
        tensors[key] = make_weights.make_tensor(key, {**entry, "shape": shape, "fan_in": fan_in}, seed=3)
    return tensors
