"""Recognizing what a file is, by its content."""

import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from condconv_keras.utils.errors import UserError
from condconv_keras.weights import open_source
from condconv_keras.weights.readers import tf_checkpoint


def _refusal(path, name="mobilenet_v1"):
    with pytest.raises(UserError) as error:
        open_source(path, name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_names_what_it_takes_when_there_is_nothing(tmp_path):
    assert "nothing lies at" in _refusal(tmp_path / "model.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>404</html>", b"\x00" * 100])
def test_refuses_what_it_does_not_know(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refusal = _refusal(path)
    assert refusal.startswith("expected a timm .safetensors or .pth,")
    assert refusal.endswith("is none of them")


def test_refuses_damaged_files(tmp_path):
    save_file({"conv_stem.weight": np.ones(100, np.float32)}, tmp_path / "whole.safetensors")
    with zipfile.ZipFile(tmp_path / "whole.keras", "w") as archive:
        archive.writestr("model.weights.h5", "x" * 1000)
    for name, size in (("whole.safetensors", -1), ("whole.safetensors", 50), ("whole.keras", 200)):
        path = tmp_path / f"cut.{name}"
        path.write_bytes((tmp_path / name).read_bytes()[:size])
        assert "damaged" in _refusal(path)
    assert "is none or damaged" in _refusal(tmp_path / "whole.keras")


def test_a_name_does_not_matter(tmp_path):
    save_file({"conv_stem.weight": np.ones(3, np.float32)}, tmp_path / "pytorch_model.bin")
    source = open_source(tmp_path / "pytorch_model.bin", "mobilenet_v1")
    assert source.description.startswith("timm checkpoint")
    save_file({"_conv_stem.weight": np.ones(3, np.float32)}, tmp_path / "pytorch_model.bin")
    source = open_source(tmp_path / "pytorch_model.bin", "efficientnet_lite0")
    assert source.description.startswith("efficientnet-lite checkpoint")


@pytest.mark.parametrize("kind", ["folder", "index", "prefix", "archive"])
def test_tensorflow_checkpoints(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(tf_checkpoint, "open_weights", lambda path, *_: ("checkpoint", path))
    (tmp_path / "model.ckpt.index").touch()
    (tmp_path / "model.tar.gz").write_bytes(b"\x1f\x8b\x08\x00")
    name = {"folder": "", "index": "model.ckpt.index", "prefix": "model.ckpt", "archive": "model.tar.gz"}[kind]
    assert open_source(tmp_path / name, "condconv_efficientnet_b0") == ("checkpoint", tmp_path / name)
