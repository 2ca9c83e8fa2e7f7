"""From a source to a `.keras` file, whole or not at all."""

import hashlib

import ml_dtypes
import numpy as np
import pytest

from condconv_keras.models.saving import load_keras_file
from condconv_keras.utils.errors import UserError
from condconv_keras.weights import WeightSource
from tests.fixtures.timm.make_weights import save_safetensors
from tests.weights.importing import QUARTER_WIDTH, import_into, quarter_width_tensors


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small timm checkpoint, quick to import."""
    path = tmp_path_factory.mktemp("timm") / "model.safetensors"
    save_safetensors(path, quarter_width_tensors())
    return path


def _import(source, output, arguments=QUARTER_WIDTH, **kwargs):
    return import_into("mobilenet_v1", source, output, arguments, **kwargs)


def test_a_file_of_other_classes_keeps_their_number(checkpoint, tmp_path):
    result = _import(checkpoint, tmp_path / "new" / "x.keras")
    model, card = load_keras_file(tmp_path / "new" / "x.keras")
    assert card.class_names == tuple("0123456789")
    assert model.output_shape == (None, 10)
    # Any size of input, with the checkpoint's padding.
    assert np.asarray(model(np.zeros((1, 63, 49, 3)))).shape == (1, 10)
    assert result.model_arguments == {"padding": "symmetric", "bn_epsilon": 1e-5, "classes": 10, **QUARTER_WIDTH}
    assert model.get_layer("stem_bn").epsilon == 1e-5


def test_arguments_take_the_place_of_the_sources(checkpoint, tmp_path):
    _import(checkpoint, tmp_path / "x.keras", {**QUARTER_WIDTH, "padding": "same", "bn_epsilon": 1e-3})
    model, _ = load_keras_file(tmp_path / "x.keras")
    assert (model.get_layer("stem").padding, model.get_layer("stem_bn").epsilon) == ("same", 1e-3)


def test_half_precision_becomes_float32(tmp_path):
    tensors = {key: tensor.astype(ml_dtypes.bfloat16) for key, tensor in quarter_width_tensors().items()}
    save_safetensors(tmp_path / "half.safetensors", tensors)
    _import(tmp_path / "half.safetensors", tmp_path / "x.keras")
    model, _ = load_keras_file(tmp_path / "x.keras")
    bias = model.get_layer("classifier").bias
    assert bias.dtype == "float32"
    np.testing.assert_array_equal(bias, tensors["classifier.bias"].astype(np.float32))


def test_verifies_the_hash_before_it_reads(checkpoint, tmp_path):
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    _import(checkpoint, tmp_path / "x.keras", sha256=digest.upper())
    with pytest.raises(UserError, match=f"has the SHA-256 {digest}, expected {'0' * 64}"):
        _import(checkpoint, tmp_path / "y.keras", sha256="0" * 64)
    (tmp_path / "no checkpoint").write_text("x")
    with pytest.raises(UserError, match="has the SHA-256"):
        _import(tmp_path / "no checkpoint", tmp_path / "y.keras", sha256=digest)
    with pytest.raises(UserError, match="`sha256` is of one file"):
        _import(tmp_path, tmp_path / "y.keras", sha256=digest)
    assert not (tmp_path / "y.keras").exists()


def test_a_failure_leaves_the_output_as_it_was(checkpoint, tmp_path):
    output = tmp_path / "x.keras"
    output.write_text("precious")
    tensors = quarter_width_tensors()
    tensors["conv_stem.weight"][0, 0, 0, 0] = np.nan
    save_safetensors(tmp_path / "nan.safetensors", tensors)
    with pytest.raises(UserError, match=r"'conv_stem.weight' for stem/kernel has values that are not finite"):
        _import(tmp_path / "nan.safetensors", output)
    with pytest.raises(UserError, match="does not fit the model 'mobilenet_v1'"):
        _import(checkpoint, output, {})
    with pytest.raises(UserError, match="unexpected keyword argument 'num_experts'"):
        _import(checkpoint, output, {"num_experts": 2})
    assert output.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nan.safetensors", "x.keras"]


def test_names_both_numbers_of_experts(tmp_path):
    source = WeightSource("file 'x'", {"router": np.zeros(3)}, lambda layer, variable: ("router", np.asarray))
    with pytest.raises(UserError, match=r"^file 'x' has 3 experts, .* 2: pass `num_experts=3`$"):
        import_into("condconv_mobilenet_v1", source, tmp_path / "x.keras", {**QUARTER_WIDTH, "num_experts": 2})


@pytest.mark.parametrize("name", ["x.h5", "x", "folder.keras"])
def test_writes_keras_files_only(tmp_path, name):
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(UserError, match=r"`output` is a file that ends in \.keras"):
        _import(WeightSource("x", {}, None), tmp_path / name)
