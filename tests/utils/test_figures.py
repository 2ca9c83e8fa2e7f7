import csv
import io

import numpy as np
import pytest
from PIL import Image

from condconv_keras.utils import figures

HISTORY = """epoch,loss,accuracy,val_loss,val_accuracy,val_top_5,learning_rate
0,2.5,0.25,2.0,0.5,0.75,0.1
1,1.5,0.5,nan,0.625,0.875,0.05
2,inf,0.75,1.0,,1.0,0.0
"""
CURVES = {
    "loss": {"loss": "training", "val_loss": "validation"},
    "accuracy": {"accuracy": "training", "val_accuracy": "validation", "val_top_5": "validation, top-5"},
}
NAN = np.nan


def _rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def _panels(figure):
    """Dict of a panel's title to a dict of a curve's label to its points [epochs, 2]."""
    return {axes.get_title(): {line.get_label(): line.get_xydata() for line in axes.lines} for axes in figure.axes}


def _assert_shows_something(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_the_curves_hold_the_history():
    panels = _panels(figures.draw_training_curves(_rows(HISTORY), CURVES))
    assert list(panels) == ["loss", "accuracy", "learning rate"]
    expected = {
        "loss": {"training": [2.5, 1.5, NAN], "validation": [2.0, NAN, 1.0]},
        "accuracy": {
            "training": [0.25, 0.5, 0.75],
            "validation": [0.5, 0.625, NAN],
            "validation, top-5": [0.75, 0.875, 1.0],
        },
    }
    for title, curves in expected.items():
        assert list(panels[title]) == list(curves)
        for label, values in curves.items():
            np.testing.assert_array_equal(panels[title][label], np.stack([[0, 1, 2], values], axis=1))
    figure = figures.draw_training_curves(_rows(HISTORY), CURVES)
    figure.draw_without_rendering()
    assert all(tick == round(tick) for axes in figure.axes for tick in axes.get_xticks())
    (rate,) = panels["learning rate"].values()
    np.testing.assert_array_equal(rate[:, 1], [0.1, 0.05, 0.0])


def test_panels_without_columns_are_left_out():
    panels = _panels(figures.draw_training_curves(_rows("epoch,loss,val_loss\n0,2.5,\n"), CURVES))
    assert list(panels) == ["loss"]
    assert list(panels["loss"]) == ["training"]


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_the_curves_are_written_after_any_epoch(tmp_path, epochs):
    (tmp_path / "history.csv").write_text("".join(HISTORY.splitlines(keepends=True)[: epochs + 1]))
    figures.training_curves(tmp_path / "history.csv", CURVES, tmp_path / "curves.png")
    if epochs:
        _assert_shows_something(tmp_path / "curves.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "history.csv"]


def test_a_small_confusion_matrix_shows_names_and_counts(tmp_path):
    matrix = np.array([[30, 10, 0], [0, 5, 0], [0, 0, 0]])
    names = ["cat", "a $\\dog$", "a name of more than thirty characters"]
    figure = figures.draw_confusion_matrix(matrix, names)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])
    shown = ["cat", "a $\\dog$", "a name of more than thirty ..."]
    assert [label.get_text() for label in axes.get_xticklabels()] == shown
    assert [label.get_text() for label in axes.get_yticklabels()] == shown
    width, height = figure.get_size_inches()
    assert height <= width <= 1.3 * height  # no margins beside it
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "30", (1, 0): "10", (1, 1): "5"}  # (column, row)
    figures.confusion_matrix(matrix, names, tmp_path / "confusion.png")
    _assert_shows_something(tmp_path / "confusion.png")


def test_a_large_confusion_matrix_is_a_picture_with_a_pixel_for_every_class(tmp_path):
    matrix = np.diag(np.arange(1000))
    figure = figures.draw_confusion_matrix(matrix, [f"class {i}" for i in range(1000)])
    assert not figure.axes[0].texts
    assert not [label for label in figure.axes[0].get_xticklabels() if "class" in label.get_text()]
    figure.draw_without_rendering()
    assert figure.axes[0].get_window_extent().height >= 1000
    figures.confusion_matrix(matrix, [""] * 1000, tmp_path / "confusion.png")
    _assert_shows_something(tmp_path / "confusion.png")


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    def fill_the_disk(figure, path, **_):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fill_the_disk)
    (tmp_path / "confusion.png").write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        figures.confusion_matrix(np.eye(2, dtype=int), ["a", "b"], tmp_path / "confusion.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
