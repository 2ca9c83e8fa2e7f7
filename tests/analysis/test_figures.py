import numpy as np
import pytest

from condconv_keras.analysis import figures


def _texts(labels):
    return [label.get_text() for label in labels]


def test_class_means_hold_a_line_for_each_class():
    means = [np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([[0.5, 0.6, 0.7], [np.nan, np.nan, np.nan]])]
    figure = figures.draw_class_means(["first", "last"], means, ["a $\\cat$", "dog"])
    assert [axes.get_title() for axes in figure.axes] == ["first", "last"]
    for axes, values in zip(figure.axes, means, strict=True):
        assert len(axes.lines) == 2
        for line, row in zip(axes.lines, values, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(len(row)))
            np.testing.assert_array_equal(line.get_ydata(), row)
    assert _texts(figure.axes[-1].get_legend().get_texts()) == ["a $\\cat$", "dog"]
    figure.draw_without_rendering()


def test_two_classes_have_bars_of_one_deviation():
    means, deviations = np.array([[0.2, 0.5], [0.9, 0.4]]), np.array([[0.1, 0.05], [0.02, 0.3]])
    figure = figures.draw_two_classes("last", means, deviations, ["cat", "dog"])
    (axes,) = figure.axes
    assert len(axes.containers) == 2
    places = []
    for container, mean, deviation in zip(axes.containers, means, deviations, strict=True):
        line, _, (bars,) = container.lines
        np.testing.assert_array_equal(line.get_ydata(), mean)
        ends = np.array(bars.get_segments())[:, :, 1]
        np.testing.assert_allclose(ends, np.stack([mean - deviation, mean + deviation], axis=1))
        np.testing.assert_array_equal(np.round(line.get_xdata()), [0, 1])
        places.append(line.get_xdata())
    assert (places[0] < places[1]).all()
    assert _texts(axes.get_legend().get_texts()) == ["cat", "dog"]


def test_histograms_are_shares_by_layer():
    edges = np.linspace(0, 1, 5)
    counts = [np.array([6, 0, 1, 3]), np.array([0, 2, 2, 0]), np.array([1, 1, 1, 1]), np.zeros(4, int), np.arange(4)]
    figure = figures.draw_histograms(list("abcde"), counts, edges)
    assert [axes.get_title() for axes in figure.axes] == list("abcde")
    for axes, expected in zip(figure.axes, counts, strict=True):
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches], expected / max(expected.sum(), 1))
        np.testing.assert_allclose([bar.get_x() for bar in axes.patches], edges[:-1])
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], 0.25)


def test_top_classes_show_an_image_for_each_class():
    thumbnails = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3), dtype=np.uint8)
    labels = [["a", "b $x", "c"], ["d", "e", "f"]]
    figure = figures.draw_top_classes("last", [1, 6], thumbnails, labels)
    (axes,) = figure.axes
    assert _texts(axes.get_yticklabels()) == ["expert 1", "expert 6"]
    assert _texts(axes.texts) == ["a", "b $x", "c", "d", "e", "f"]
    for row, column in np.ndindex(2, 3):
        image, text = axes.images[3 * row + column], axes.texts[3 * row + column]
        np.testing.assert_array_equal(image.get_array(), thumbnails[row, column])
        left, right, bottom, top = image.get_extent()
        assert (right - left, bottom - top) == (5, 4)
        assert left < text.get_position()[0] < right and text.get_position()[1] < top  # the axis points down
        assert top < axes.get_yticks()[row] < bottom
    figure.draw_without_rendering()
    assert all(axes.bbox.contains(*axes.transData.transform(image.get_extent()[1::2])) for image in axes.images)


def test_a_gray_image_is_shown_in_gray_from_0_to_255():
    image = np.full((1, 1, 2, 2, 1), 100, np.uint8)
    (axes,) = figures.draw_top_classes("last", [0], image, [["a"]]).axes
    np.testing.assert_array_equal(axes.images[0].get_array(), image[0, 0, ..., 0])
    assert (axes.images[0].get_clim(), axes.images[0].get_cmap().name) == ((0, 255), "gray")


@pytest.mark.parametrize("draw", ["draw_class_means", "draw_two_classes"])
def test_names_are_shown_as_they_are(draw):
    labels = ["_background_", "$5 bill$"]
    arguments = {
        "draw_class_means": (["first", "last"], 2 * [np.full((2, 3), 0.5)], labels),
        "draw_two_classes": ("last", np.full((2, 3), 0.5), np.full((2, 3), 0.1), labels),
    }[draw]
    legend = getattr(figures, draw)(*arguments).axes[-1].get_legend()
    assert _texts(legend.get_texts()) == labels
    assert not any(text.get_parse_math() for text in legend.get_texts())


def test_bars_that_reach_beyond_a_weight_are_shown_whole():
    means, deviations = np.array([[0.8, 0.1], [0.5, np.nan]]), np.array([[0.4, 0.3], [0.1, np.nan]])
    low, high = figures.draw_two_classes("last", means, deviations, ["a", "b"]).axes[0].get_ylim()
    assert low < -0.2 < -0.15 and high > 1.2


def test_many_lines_differ_by_color_or_marker():
    axes = figures.draw_class_means(["last"], [np.full((25, 3), 0.5)], [f"class {i}" for i in range(25)]).axes[0]
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 25


def test_class_specificity_by_depth():
    (axes,) = figures.draw_class_specificity(["first", "last"], [0.1, 0.7], 0.05).axes
    values, chance = axes.lines
    np.testing.assert_array_equal(values.get_xydata(), [[0, 0.1], [1, 0.7]])
    np.testing.assert_array_equal(chance.get_ydata(), [0.05, 0.05])
    assert _texts(axes.get_xticklabels()) == ["first", "last"]


def test_expert_use_of_layers_with_different_numbers_of_experts():
    figure = figures.draw_expert_use(["first", "last"], [np.array([0.25, 1.0]), np.array([0.0, 0.5, 0.75])])
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array().filled(-1), [[0.25, 1, -1], [0, 0.5, 0.75]])
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "0.25", (1, 0): "1.00", (0, 1): "0.00", (1, 1): "0.50", (2, 1): "0.75"}
    assert _texts(axes.get_yticklabels()) == ["first", "last"]


def test_class_similarity_names_what_can_be_read():
    similarity = np.array([[1, -0.5], [-0.5, 1]])
    axes = figures.draw_class_similarity(["cat", "x" * 40], similarity).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), similarity)
    assert axes.images[0].get_clim() == (-1, 1)
    assert _texts(axes.get_yticklabels()) == ["cat", "x" * 27 + "..."]
    some = figures.draw_class_similarity(["cat"] * 20, np.eye(20))
    some.draw_without_rendering()
    assert some.axes[0].get_window_extent().height >= 20 * 15  # pixels: the names stand apart
    many = figures.draw_class_similarity(["cat"] * 1000, np.eye(1000))
    many.draw_without_rendering()
    assert not _texts(many.axes[0].get_yticklabels())
    assert many.axes[0].get_window_extent().height >= 2 * 1000  # pixels


def test_the_ticks_of_the_experts_are_whole_numbers():
    figure = figures.draw_class_means(["layer"], [np.array([[0.2, 0.7, 0.4]])], ["cat"])
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_xticks()
    assert {0, 1, 2} <= {*ticks}
    assert all(tick == round(tick) for tick in ticks)
