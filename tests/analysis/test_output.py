"""The folder of an analysis of stored weights: every file against the weights."""

import base64
import csv
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from condconv_keras.analysis import pictures
from condconv_keras.analysis.output import Analysis, write_analysis
from condconv_keras.routing_statistics.by_epoch import RoutingOfEpoch, read_by_epoch
from condconv_keras.routing_statistics.examples import ExampleImages
from tests.analysis.stored import CLASSES, IMAGES, LAYERS, gathered, stored_weights

NAMES = ("<cat> & $dog$", *CLASSES[1:])
PICTURES = (
    "class_means",
    "histogram",
    "histograms",
    "two_classes",
    "top_classes",
    "class_specificity",
    "expert_use",
    "class_similarity",
)


def _analysis(weights, presence, **changes):
    images = np.arange(IMAGES, dtype=np.float32)[:, None, None, None] * np.ones((8, 8, 3), np.float32)
    examples = ExampleImages(LAYERS[1][1], len(NAMES), (8, 8, 3))
    examples.add(images, weights[1], presence)
    return Analysis(
        **{
            "model": "runs/x",
            "dataset": "pets",
            "split": "test",
            "images": IMAGES,
            "layers": gathered(weights, presence, 7).layers(),
            "class_names": NAMES,
            "examples": examples,
            "chosen_layers": [0, 1],
            "chosen_classes": [],
            **changes,
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("analysis") / "out"
    write_analysis(path, _analysis(*stored_weights()))
    return path


def _rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_routing_npz_holds_numpys_statistics_without_pickle(folder):
    weights, presence = stored_weights()
    with np.load(folder / "routing.npz", allow_pickle=False) as stored:
        assert stored["layers"].tolist() == [name for name, _ in LAYERS]
        assert stored["class_names"].tolist() == list(NAMES)
        assert stored["images"] == IMAGES
        np.testing.assert_array_equal(stored["class_count"], presence.sum(axis=0))
        for (name, _), weight in zip(LAYERS, weights, strict=True):
            weight = weight.astype(np.float64)
            np.testing.assert_allclose(stored[f"{name}/mean"][1], weight[presence[:, 1]].mean(axis=0))
            np.testing.assert_allclose(stored[f"{name}/std"][1], weight[presence[:, 1]].std(axis=0))
            np.testing.assert_allclose(stored[f"{name}/overall_mean"], weight.mean(axis=0))
            np.testing.assert_allclose(stored[f"{name}/overall_std"], weight.std(axis=0))
            np.testing.assert_allclose(stored[f"{name}/above_half"], (weight > 0.5).mean(axis=0))
            np.testing.assert_allclose(stored[f"{name}/saturated"], (abs(weight - 0.5) > 0.45).mean(axis=0))
            expected = [np.histogram(column, stored["bin_edges"])[0] for column in weight.T]
            np.testing.assert_array_equal(stored[f"{name}/histogram"], expected)
        order = stored["class_order"]
        assert sorted(order) == [0, 1, 2]
        side_by_side = np.concatenate(weights, axis=1).astype(np.float64)
        means = np.array([side_by_side[presence[:, i]].mean(axis=0) for i in order])
        vectors = means - means.mean(axis=0)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(stored["class_similarity"], vectors @ vectors.T, atol=1e-12)


def test_the_tables(folder):
    weights, presence = stored_weights()
    by_class = _rows(folder / "routing_by_class.csv")
    assert len(by_class) == 3 * (3 + 5)  # no image has the last class
    for row in by_class:
        layer = [name for name, _ in LAYERS].index(row["layer"])
        of_class = presence[:, NAMES.index(row["class"])]
        values = weights[layer][of_class, int(row["expert"])].astype(np.float64)
        assert int(row["count"]) == len(values)
        assert (float(row["mean"]), float(row["std"])) == pytest.approx((values.mean(), values.std()), abs=1e-6)
    top = _rows(folder / "top_classes.csv")
    assert len(top) == 3 * (3 + 5)
    means = weights[1].astype(np.float64)
    means = np.array([means[presence[:, i], 2].mean() for i in range(3)])
    found = [row for row in top if (row["layer"], row["expert"]) == (LAYERS[1][0], "2")]
    assert [(row["rank"], row["class"]) for row in found] == [
        (str(rank), NAMES[i]) for rank, i in enumerate(np.argsort(-means), start=1)
    ]
    assert [float(row["mean"]) for row in found] == pytest.approx(sorted(means, reverse=True), abs=1e-6)


def test_the_summary(folder):
    summary = json.loads((folder / "analysis.json").read_text())
    weights, presence = stored_weights()
    assert (summary["model"], summary["dataset"], summary["split"]) == ("runs/x", "pets", "test")
    assert (summary["examples"], summary["classes"], summary["logged_epochs"]) == (IMAGES, 3, 0)
    rows = _rows(folder / "layers.csv")
    assert [row["depth"] for row in rows] == ["1", "2"]
    for (name, experts), weight, entry, row in zip(LAYERS, weights, summary["layers"], rows, strict=True):
        assert (entry["layer"], entry["experts"]) == (name, experts) == (row["layer"], int(row["experts"]))
        assert entry["mean"] == pytest.approx(weight.mean())
        assert entry["above_half"] == pytest.approx((weight > 0.5).mean())
        assert entry["near_0"] == pytest.approx((weight < 0.1).mean())
        assert entry["saturation"] == pytest.approx((abs(weight - 0.5) > 0.45).mean())
        assert entry["spread"] == pytest.approx(weight.astype(np.float64).std(axis=0).mean())
        for field in ("class_specificity", "mean", "above_half", "near_0", "near_1", "saturation", "spread"):
            assert float(row[field]) == pytest.approx(entry[field], abs=1e-6)
    pairs, images = presence.sum(), presence.any(axis=1).sum()
    assert summary["chance_specificity"] == pytest.approx((3 * images - pairs) / (pairs * (images - 1)))


def test_every_figure_is_there_twice_and_in_the_report(folder):
    files = {path.name for path in (folder / "figures").iterdir()}
    assert files == {f"{name}.{ending}" for name in PICTURES for ending in ("png", "svg")}
    page = (folder / "report.html").read_text(encoding="utf-8")
    embedded = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert embedded == [(folder / "figures" / f"{name}.png").read_bytes() for name in PICTURES]
    for png in embedded:
        with Image.open(io.BytesIO(png)) as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 10
    assert all("<svg" in path.read_text(encoding="utf-8") for path in (folder / "figures").glob("*.svg"))
    assert "&lt;cat&gt; &amp; $dog$" in page and "<cat>" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_the_figures_show_the_statistics():
    weights, presence = stored_weights()
    analysis = _analysis(weights, presence)
    layer = analysis.layers[1]
    drawn = {
        picture.name: picture.figure
        for picture in pictures.draw_pictures(analysis.layers, NAMES, analysis.examples, [0, 1], [2, 0])
    }
    first, last = drawn["class_means"].axes
    assert (first.get_title(), last.get_title()) == ("block_1_routing", "block_2_routing")
    for line, i in zip(last.lines, (2, 0), strict=True):
        np.testing.assert_allclose(line.get_ydata(), weights[1][presence[:, i]].mean(axis=0), rtol=1e-5)
    labels = [text.get_text() for text in last.get_legend().get_texts()]
    assert labels == [f"{NAMES[i]} (n = {presence[:, i].sum()})" for i in (2, 0)]
    eel, cat = drawn["two_classes"].axes[0].containers
    np.testing.assert_allclose(eel.lines[0].get_ydata(), layer.mean[2])
    ends = np.array(cat.lines[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 2 * weights[1][presence[:, 0]].std(axis=0), rtol=1e-5)
    heights = [bar.get_height() for bar in drawn["histogram"].axes[0].patches]
    np.testing.assert_allclose(heights, np.histogram(weights[1], 50, (0, 1))[0] / weights[1].size)
    assert [axes.get_title() for axes in drawn["histograms"].axes] == [name for name, _ in LAYERS]
    specificity = drawn["class_specificity"].axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(specificity, [layer.class_specificity for layer in analysis.layers])
    use = drawn["expert_use"].axes[0].images[0].get_array()
    np.testing.assert_allclose(use[1], (weights[1] > 0.5).mean(axis=0))
    _check_top_classes(drawn["top_classes"], weights[1], presence)


def _check_top_classes(figure, weights, presence):
    """Checks that every image is the one of its class with the highest weight of the expert: its brightness says it."""
    (axes,) = figure.axes
    experts = [int(label.get_text().removeprefix("expert ")) for label in axes.get_yticklabels()]
    assert len(experts) == 4 and len(axes.images) == 4 * 3
    for place, (image, text) in enumerate(zip(axes.images, axes.texts, strict=True)):
        expert = experts[place // 3]
        means = [weights[presence[:, i], expert].mean() for i in range(3)]
        of_class = np.argsort(means)[::-1][place % 3]
        assert text.get_text() == f"{NAMES[of_class]}\n{means[of_class]:.2f}"
        best = np.where(presence[:, of_class], weights[:, expert], -1).argmax()
        assert (image.get_array() == best).all()


def test_the_epochs_of_a_run_are_a_table_and_a_section_of_the_report(tmp_path):
    rows = tuple(
        RoutingOfEpoch(
            epoch=epoch, layer=name, experts=experts, in_use=experts - epoch, saturation=epoch / 4, spread=0.1, mean=0.5
        )
        for epoch in range(3)
        for name, experts in LAYERS
    )
    write_analysis(tmp_path / "out", _analysis(*stored_weights(), by_epoch=rows))
    assert read_by_epoch(tmp_path / "out/routing_by_epoch.csv") == rows
    assert json.loads((tmp_path / "out/analysis.json").read_text())["logged_epochs"] == 3
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    _, section = page.split("<h2>Over the epochs</h2>")
    png = base64.b64encode((tmp_path / "out/figures/over_epochs.png").read_bytes()).decode()
    assert png in section.partition("<h2>")[0]
    figure = pictures.draw_epochs(rows).figure
    in_use, saturation, spread = figure.axes
    for axes, expected in ((in_use, [[1, 2 / 3, 1 / 3], [1, 0.8, 0.6]]), (saturation, [[0, 0.25, 0.5]] * 2)):
        assert [list(line.get_ydata()) for line in axes.lines] == expected
    assert [list(line.get_xdata()) for line in spread.lines] == [[0, 1, 2]] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [name for name, _ in LAYERS]
    # Of a softmax the experts in use are unknown: in one epoch of one layer, or everywhere.
    (in_use, *_) = pictures.draw_epochs((dataclasses.replace(rows[0], in_use=None), *rows[1:])).figure.axes
    np.testing.assert_array_equal(in_use.lines[0].get_ydata(), [np.nan, 2 / 3, 1 / 3])
    picture = pictures.draw_epochs([dataclasses.replace(row, in_use=None) for row in rows])
    assert [axes.get_title() for axes in picture.figure.axes] == ["saturation", "spread"]
    assert "dead" not in picture.caption


def test_images_without_classes_have_the_figures_that_need_none(tmp_path):
    weights, presence = stored_weights()
    write_analysis(tmp_path / "out", _analysis(weights, np.zeros_like(presence)))
    names = {path.stem for path in (tmp_path / "out/figures").iterdir()}
    assert names == set(PICTURES) - {"top_classes", "class_similarity"}
    assert json.loads((tmp_path / "out/analysis.json").read_text())["classes"] == 0


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fill_the_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("condconv_keras.analysis.output._save", fill_the_disk)
    with pytest.raises(OSError, match="No space"):
        write_analysis(tmp_path / "out", _analysis(*stored_weights()))
    assert not list(tmp_path.iterdir())
