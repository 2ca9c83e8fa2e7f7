import numpy as np

from condconv_keras.tasks.detection import draw_boxes

NAMES = ("a", "b")


def _blank(height=100, width=200):
    return np.full((height, width, 3), 7, np.uint8)


def test_the_frame_is_the_boxs_outermost_pixels():
    image = _blank()
    drawn = draw_boxes(image, np.array([[0.3, 0.1, 0.9, 0.8]], np.float32), [0], [0.5], NAMES)
    assert (image == 7).all() and drawn.dtype == np.uint8
    changed = (drawn != 7).any(axis=-1)
    # Rows 30..89, columns 20..159.
    assert changed[30:90, 20].all() and changed[30:90, 159].all()
    assert changed[30, 20:160].all() and changed[89, 20:160].all()
    assert not changed[31:89, 21:159].any() and not changed[90:].any()
    assert not changed[:, :20].any() and not changed[:, 160:].any()
    # The label lies above the box.
    assert changed[:30].any()


def test_labels_stay_in_the_picture():
    white = np.full((100, 200, 3), 255, np.uint8)
    at_the_edge, inside = (
        (draw_boxes(white, np.array([box], np.float32), [0], [0.5], NAMES).max(axis=-1) < 128).sum()
        for box in ((0, 0.99, 1, 1), (0.5, 0.1, 0.9, 0.9))  # the first has no room above and to the right
    )
    assert at_the_edge == inside > 10


def test_the_better_box_lies_over_the_other_and_classes_differ_in_color():
    boxes = np.array([[0.4, 0.1, 0.9, 0.8]] * 2, np.float32)
    colors = {}
    for winner in (0, 1):
        drawn = draw_boxes(_blank(), boxes, [0, 1], np.array([1 - winner, winner]) * 0.5 + 0.25, NAMES)
        colors[winner] = tuple(drawn[89, 100])
        alone = draw_boxes(_blank(), boxes[:1], [winner], [0.75], NAMES)
        assert tuple(alone[89, 100]) == colors[winner]
    assert colors[0] != colors[1]


def test_no_boxes_and_boxes_without_area():
    np.testing.assert_array_equal(draw_boxes(_blank(), np.zeros((0, 4)), [], [], NAMES), _blank())
    drawn = draw_boxes(_blank(), np.array([[1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]]), [0, 1], [1, 1], NAMES)
    assert (drawn != 7).any() and drawn.shape == (100, 200, 3)
