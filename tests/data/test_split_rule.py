import hashlib
import os
import unicodedata

import numpy as np
import pytest

from condconv_keras.data.split_rule import NEW, PLACE, SplitRule, held_out, name_hash, names_below
from tests.data.splits import small_hashes

NAMES = [f"{folder}/{i}.jpg" for folder in ("cat", "dog") for i in range(40)]
LABELS = [0] * 40 + [1] * 40


def _chosen(names, labels, fraction=0.2, rule=NEW):
    chosen, moved = held_out(names, labels, fraction, rule)
    return {name for name, is_out in zip(names, chosen, strict=True) if is_out}, moved


def test_the_hash_of_a_name():
    digest = hashlib.sha256(b"blue/1.png").hexdigest()
    assert digest.startswith("07a828")
    assert name_hash("blue/1.png") == pytest.approx(0.029909667093652993, abs=1e-15)
    # A name that is not UTF-8, as Python reads it from the disk.
    assert name_hash(os.fsdecode(b"a/\xe9.png")) == int(hashlib.sha256(b"a/\xe9.png").hexdigest()[:16], 16) / 2**64


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_an_image_is_held_out_by_its_name_alone(fraction):
    chosen, moved = _chosen(NAMES, LABELS, fraction)
    assert chosen == set(small_hashes(NAMES, fraction)) and moved == ()
    # Whatever others there are, and in whatever order.
    order = np.random.default_rng(0).permutation(len(NAMES))[:60]
    some, _ = _chosen([NAMES[i] for i in order], [LABELS[i] for i in order], fraction)
    assert some == {NAMES[i] for i in order} & chosen


def test_a_class_without_an_image_on_one_side_gets_the_nearest_one():
    few = [name for name in NAMES if name not in small_hashes(NAMES, 0.3)][:3]
    lowest = min(few, key=name_hash)
    assert _chosen(few, [0] * 3, 0.2) == ({lowest}, (lowest,))
    many = small_hashes(NAMES, 0.3)[:3]
    highest = max(many, key=name_hash)
    assert _chosen(many, [0] * 3, 0.3) == (set(many) - {highest}, (highest,))
    # Every class by itself.
    assert _chosen([*few, *many], [0] * 3 + [1] * 3, 0.3) == (
        {lowest, *many} - {highest},
        tuple(sorted((lowest, highest))),
    )


def test_what_a_run_has_moved_stays_and_nothing_else_moves():
    few = [name for name in NAMES if name not in small_hashes(NAMES, 0.3)][:3]
    chosen, moved = _chosen(few, [0] * 3)
    rule = SplitRule(moved=moved)
    # A new one that would be moved now, were the split a new one: the rule of a run leaves it where it is.
    lower = [name for name in NAMES if name_hash(moved[0]) > name_hash(name) >= 0.2][:1]
    assert lower and _chosen([*few, *lower], [0] * 4)[1] == tuple(lower)
    assert _chosen([*few, *lower], [0] * 4, rule=rule) == (chosen, moved)
    # The held-out one is gone: none that was trained on takes its place.
    rest = [name for name in few if name not in moved]
    assert _chosen(rest, [0] * 2, rule=rule) == (set(), moved)


def test_the_rule_of_version_0_1():
    """The places of `numpy.random.default_rng(0).permutation(n)` in the list of a class, as 916c936 had it."""
    chosen, moved = _chosen(NAMES, LABELS, rule=SplitRule(PLACE, ()))
    places = [int(i) for i in np.random.default_rng(0).permutation(40)[:8]]
    assert chosen == {NAMES[i] for i in places} | {NAMES[40 + i] for i in places} and moved == ()
    assert _chosen(NAMES[:10], LABELS[:10], rule=SplitRule(PLACE, ()))[0] == {
        NAMES[i] for i in np.random.default_rng(0).permutation(10)[:2]
    }


def test_what_version_0_1_did_not_find_moves_nothing():
    more = sorted([*NAMES[:40], "cat/00.webp", "cat/5.WebP"])
    rule = SplitRule(PLACE, ())
    assert _chosen(more, [0] * 42, rule=rule) == _chosen(sorted(NAMES[:40]), [0] * 40, rule=rule)


def test_the_name_of_an_image():
    inside, outside = "/data/set/cat/1.jpg", "/data/other/1.jpg"
    assert names_below("/data/set", [inside, outside]) == ["cat/1.jpg", "../other/1.jpg"]
    assert names_below("/data/set/", [inside]) == ["cat/1.jpg"]
    assert names_below(".", ["cat/1.jpg", os.path.abspath("2.jpg")]) == ["cat/1.jpg", "2.jpg"]
    # macOS stores the same name in other characters.
    apart = unicodedata.normalize("NFD", "café/1.jpg")
    assert apart != "café/1.jpg" and names_below("/data", [f"/data/{apart}"]) == ["café/1.jpg"]


def test_a_smaller_part_than_the_run_s_carries_nothing_that_was_moved_back():
    few = [name for name in NAMES if name not in small_hashes(NAMES, 0.3)][:3]
    many = small_hashes(NAMES, 0.3)[:3]
    (lowest,), (highest,) = (_chosen(some, [0] * 3, 0.3)[1] for some in (few, many))
    rule = SplitRule(moved=(lowest, highest), fraction=0.3)
    for fraction in (0.3, name_hash(highest) * 0.99, 1e-9):
        chosen, _ = _chosen([*few, *many], [0] * 3 + [1] * 3, fraction, rule)
        assert chosen == {lowest, *(name for name in many if name_hash(name) < fraction)} - {highest}
