"""The drawing of glyphs with a font of matplotlib, and the rules for faces and splits on bitmaps made by hand."""

import pathlib
import re

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageFont

from condconv_keras.utils.errors import UserError
from scripts import glyph_faces, glyphs, tfds_store
from scripts.glyph_faces import Face, difference, face_difference, families, without_near
from tests import processes

FONT = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
LETTERS = "ABCDEFGHKLMNOPQRSTUVWXYZ"


def _bar(*columns):
    """An image with white columns."""
    image = np.zeros((32, 32), np.uint8)
    image[:, list(columns)] = 255
    return image


def _face(name):
    return Face("fonts-some", f"/fonts/{name}.ttf")


def test_a_glyph_is_drawn_large_reduced_and_centered():
    drawn = Face("", str(FONT), 0, 100).draw("HI")
    large = Image.new("L", (128, 128))
    mask = ImageFont.truetype(str(FONT), 100, layout_engine=ImageFont.Layout.BASIC).getmask("H", mode="L")
    glyph = Image.frombytes("L", mask.size, bytes(mask))
    glyph = glyph.crop(glyph.getbbox())
    large.paste(glyph, ((128 - glyph.width) // 2, (128 - glyph.height) // 2))
    np.testing.assert_allclose(drawn["H"], np.asarray(large.reduce(4), int), atol=1)
    assert drawn["I"].shape == (32, 32)
    assert drawn["I"].max() == 255


def test_a_glyph_larger_than_the_image_is_cut_on_both_sides():
    image = Face("", str(FONT), 0, 400).draw("H")["H"]
    assert (image[:, 0] == image[:, 31]).all()
    assert image.max() == 255


def test_characters_that_a_face_lacks():
    drawn = Face("", str(FONT)).draw("HI 一丁A\u0410")  # a space, two it has not, and a Cyrillic letter drawn as A
    assert list(drawn) == ["H", "I"]


def test_the_middle_character_of_a_fitted_face_has_26_pixels():
    face = Face("", str(FONT)).fitted(LETTERS)
    sides = [max(np.ptp(axis) + 1 for axis in np.nonzero(image > 127)) for image in face.draw(LETTERS).values()]
    assert abs(np.median(sides) - 26) <= 1
    assert Face("", str(FONT)).fitted("一丁七ABC") is None


def test_difference_of_bitmaps():
    assert difference(_bar(1, 2), _bar(1, 2)) == 0
    assert difference(_bar(1, 2), _bar(3, 4)) == 1
    assert difference(_bar(1, 2), _bar(2, 3)) == 0.5
    assert difference(_bar(1, 2, 3), _bar(1, 2)) == pytest.approx(1 / 5)
    np.testing.assert_allclose(difference(_bar(1), np.stack([_bar(1), _bar(2)])), [0, 1])
    assert difference(_bar(), _bar()) == 0


def test_difference_of_faces_is_the_median_over_shared_characters():
    first = {"a": _bar(1), "b": _bar(1, 2), "c": _bar(1), "d": _bar(5)}
    second = {"a": _bar(1), "b": _bar(2, 3), "c": _bar(2), "e": _bar(5)}
    assert face_difference(first, second) == 0.5
    assert face_difference(first, {"e": _bar(5)}) == 1


def test_near_items_and_families():
    assert without_near([0, 1, 4, 5, 8], lambda one, other: abs(one - other) >= 2) == [0, 4, 8]
    assert families([9, 0, 4, 2, 20, 8], lambda one, other: abs(one - other) <= 2) == [[9, 8], [0, 4, 2], [20]]


def test_faces_by_name_and_bitmap():
    first, weight, other, twin, alone, far = map(_face, ("Noto-A", "Noto-B", "Ume", "Copy", "Alone", "Far"))
    drawn = {
        first: {"a": _bar(*range(10))},
        weight: {"a": _bar(*range(20, 30))},  # of the first one's family by its name
        other: {"a": _bar(*range(1, 11))},  # 0.1 from the first one
        twin: {"a": _bar(*range(1, 11))},  # equal to the one before
        alone: {"a": _bar(30, 31)},
        far: {"a": _bar(12)},
    }
    seen, unseen = glyphs.chosen_faces(list(drawn), drawn)
    assert (seen, unseen) == ([first, weight, other], [alone, far])


def test_only_so_many_faces_are_held_out_and_in_an_order_by_lot():
    drawn = {_face(f"Font{number}x"): {"a": _bar(number)} for number in range(32)}
    seen, unseen = glyphs.chosen_faces(list(drawn), drawn)
    assert len(unseen) == 14
    assert not set(seen) & set(unseen)
    assert len(seen) == 18
    assert unseen == sorted(sorted(drawn, key=lambda face: glyphs.lot(face.name))[:14], key=list(drawn).index)


def test_a_character_is_left_out_where_an_earlier_face_draws_it_alike():
    one, two, three, four, five = map(_face, "abcde")
    drawn = {one: {"x": _bar(1)}, two: {"x": _bar(1)}, three: {}, four: {"x": _bar(2)}, five: {"x": _bar(1)}}
    assert glyphs.distinct("x", [one, two, three, four, five], drawn) == [one, four]


def test_no_pair_is_in_two_splits_and_no_face_in_both_kinds():
    faces = [_face(name) for name in "abcde"]
    pairs = [(letter, face) for letter in LETTERS for face in faces]
    splits = glyphs.split_pairs(pairs, faces[:2], test_images=20)
    assert {split: len(part) for split, part in splits.items()} == {"train": 52, "test": 20, "unseen_faces": 48}
    assert sorted([pair for part in splits.values() for pair in part], key=pairs.index) == pairs
    assert {face for _, face in splits["unseen_faces"]} == set(faces[:2])
    assert not {face for split in ("train", "test") for _, face in splits[split]} & set(faces[:2])


def test_images_and_labels_of_a_small_data_set(monkeypatch):
    monkeypatch.setattr(glyphs, "split_pairs", lambda pairs, unseen: {"train": pairs[5:], "test": pairs[:5]})
    faces = [Face("", str(FONT.with_name(f"DejaVu{name}.ttf"))) for name in ("Sans", "Sans-Bold", "Serif", "Sans")]
    splits, sources = glyphs.draw(LETTERS, faces)
    assert sources["faces"] + sources["unseen_faces"] == [
        "DejaVuSans.ttf:0",
        "DejaVuSans-Bold.ttf:0",
        "DejaVuSerif.ttf:0",
    ]
    assert len(splits["test"][1]) == 5
    images, labels = (np.concatenate(parts) for parts in zip(*splits.values(), strict=True))
    assert images.shape == (len(labels), 32, 32, 1)
    drawn = {}
    for face in faces[:3]:
        for letter, image in face.fitted(LETTERS).draw(LETTERS).items():
            drawn.setdefault(letter, []).append(image.tobytes())
    for image, label in zip(images, labels, strict=True):
        assert image.tobytes() in drawn[LETTERS[label]]
    assert len({image.tobytes() for image in images}) == len(images)
    assert set(labels) == set(range(len(LETTERS)))


def test_characters_are_common_ones():
    assert glyphs.is_common("一")
    for character in "A丽々龜が":  # Latin, only in China's level 1, a sign, rare, kana
        assert not glyphs.is_common(character)
    letters = glyphs.characters()
    assert len(set(letters)) == 1000
    assert letters == "".join(sorted(letters))
    assert sum(map(glyphs.is_common, map(chr, range(0x4E00, 0xA000)))) == 1583
    assert set(glyphs.characters(10)) < set(letters)


def test_missing_fonts_are_named(monkeypatch):
    there = glyph_faces.PACKAGES[2:]
    monkeypatch.setattr(tfds_store, "dpkg", lambda *words: "1.0" if words[-1] in there else "")
    named = r"apt-get install --no-install-recommends fonts-aoyagi-kouzan-t fonts-aoyagi-soseki \(packages of Debian"
    with pytest.raises(UserError, match=named):
        glyph_faces.installed_faces()


def test_the_help_names_the_packages(tmp_path):
    answer = processes.run("-m", "scripts.glyphs", "--help", **processes.without_frameworks(tmp_path))
    assert glyph_faces.INSTALL in answer.stdout
    assert "--validation_images" in answer.stdout


def test_the_page_about_data_has_the_license_of_each_package():
    page = (processes.ROOT / "docs" / "data.md").read_text()
    named = {f"fonts-{name.removeprefix('fonts-')}" for name in re.findall(r"`-?([a-z0-9-]+)`", page)}
    assert set(glyph_faces.PACKAGES) <= named
