"""Box arithmetic written a second time, in plain loops, for the tests to compare with."""

import math

import numpy as np


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def intersection(a, b):
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)


def iou(a, b):
    common = intersection(a, b)
    return common / (area(a) + area(b) - common) if common > 0 else 0.0


def encode(box, anchor):
    height, width = anchor[2] - anchor[0], anchor[3] - anchor[1]
    return (
        10 * ((box[0] + box[2]) - (anchor[0] + anchor[2])) / 2 / height,
        10 * ((box[1] + box[3]) - (anchor[1] + anchor[3])) / 2 / width,
        5 * math.log((box[2] - box[0]) / height),
        5 * math.log((box[3] - box[1]) / width),
    )


def decode(code, anchor):
    height, width = anchor[2] - anchor[0], anchor[3] - anchor[1]
    y = (anchor[0] + anchor[2]) / 2 + code[0] / 10 * height
    x = (anchor[1] + anchor[3]) / 2 + code[1] / 10 * width
    height, width = height * math.exp(code[2] / 5), width * math.exp(code[3] / 5)
    return (y - height / 2, x - width / 2, y + height / 2, x + width / 2)


def random_boxes(rng, count, smallest=0.05, largest=0.5):
    sizes = rng.uniform(smallest, largest, (count, 2))
    corners = rng.uniform(0, 1 - sizes)
    return np.concatenate([corners, corners + sizes], axis=1).astype(np.float32)
