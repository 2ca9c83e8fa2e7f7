"""What CONTRIBUTING.md shows works exactly as it stands: a copy of the checkout gets its files and lines."""

import json
import re
import shutil

import pytest

from tests import processes
from tests.processes import ROOT

_BLOCK = re.compile(r"^```(python|diff)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CHECKOUT = ("condconv_keras", "models", "export", "train.py", "eval.py", "pyproject.toml")
MAX_LINES = 20


def blocks():
    """The kind, the file's name and the text of every block of CONTRIBUTING.md that names a file."""
    return _BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text())


def changed(text, change):
    """Replaces runs of the lines that begin with `-` by the lines with `+` that follow them."""
    for old, new in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", change, re.MULTILINE):
        old, new = ("".join(line[1:] for line in part.splitlines(keepends=True)) for part in (old, new))
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout with everything that CONTRIBUTING.md adds."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in _CHECKOUT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    for kind, name, text in blocks():
        path = folder / name
        assert path.exists() == (kind == "diff"), path
        path.write_text(changed(path.read_text(), text) if kind == "diff" else text)
    return folder


def run(checkout, *arguments):
    return processes.run(*arguments, folder=checkout).stdout


def test_each_example_takes_twenty_lines():
    sections = re.split(r"^## ", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    lengths = {section.split("\n")[0]: added_lines(section) for section in sections if _BLOCK.search(section)}
    assert list(lengths) == ["A model family", "A data source", "An export format", "A recipe"]
    assert max(lengths.values()) <= MAX_LINES, lengths


def added_lines(section):
    """The number of lines that a section adds to the library, blank ones aside."""
    total = 0
    for kind, _, text in _BLOCK.findall(section):
        lines = [line for line in text.splitlines() if line.strip()]
        if kind == "diff":
            removed = [line[1:] for line in lines if line.startswith("-")]
            lines = [line for line in lines if line.startswith("+") and line[1:] not in removed]
        total += len(lines)
    return total


def test_the_examples_fit_the_files_that_they_change(checkout):
    formats = (checkout / "condconv_keras/export/formats.py").read_text()
    assert formats.count("WeightsNpz") == 2
    for kind, name, text in blocks():
        if kind == "python":
            assert (checkout / name).read_text() == text


@pytest.mark.slow
def test_the_family_is_in_the_zoo(checkout):
    code = (
        "from condconv_keras import create_model, list_models\n"
        "print(list_models('*conv_net'))\n"
        "shape = dict(input_shape=(32, 32, 3), classes=5)\n"
        "print([create_model(name, **shape).output_shape for name in list_models('*conv_net')])\n"
        "twin = create_model('condconv_conv_net', num_experts=3, **shape)\n"
        "print(twin.get_layer('block_2_conv').kernel.shape, twin.get_layer('block_3_conv').num_experts)\n"
    )
    names, shapes, layers = run(checkout, "-c", code).splitlines()
    assert names == "['condconv_conv_net', 'conv_net']"
    assert shapes == "[(None, 5), (None, 5)]"
    assert layers == "(3, 3, 32, 64) 3"


@pytest.mark.slow
def test_the_family_learns_the_source_by_the_recipe_and_is_exported_in_the_format(checkout):
    flags = ("--model=condconv_conv_net", "--dataset=stripes", "--width_multiplier=0.5", "--model_dir=run")
    results = json.loads(run(checkout, "train.py", *flags, "--json"))
    assert (results["examples"], results["epochs"]) == (50, 6)
    assert results["top_1"] > 0.9  # of two classes; which images it gets right hangs on rounding
    config = json.loads((checkout / "run/config.json").read_text())
    assert (config["recipe_name"], config["recipe"]["batch_size"]) == ("stripes", 20)
    exported = json.loads(
        run(checkout, "-m", "export", "--model=run", "--output_dir=out", "--formats=weights_npz", "--json")
    )
    (file,) = exported["files"]
    assert file["file"] == "weights.npz"
    assert file["top_1"] == file["keras_top_1"] > 0.9
    assert (checkout / "out/weights.npz").stat().st_size == file["bytes"]
