import unicodedata

import pytest

from condconv_keras.facts import imagenet
from condconv_keras.facts.class_names import match_classes, same_classes, told_apart
from condconv_keras.utils.errors import UserError

IMAGENETTE = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079"]
IMAGENETTE_NAMES = ["tench", "English springer", "cassette player", "chain saw", "church"]
IMAGENET = imagenet.class_names()


@pytest.mark.parametrize(
    ("mine", "theirs", "indices"),
    [
        ("cat dog cow", "cat dog cow", (0, 1, 2)),
        # In another order, as numbers are where they are sorted as text.
        ("0 1 2 3 4 5 6 7 8 9 10 11", "0 1 10 11 2 3 4 5 6 7 8 9", (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)),
        ("cat dog cow", "cow cat", (2, 0)),
        # The same name written differently.
        ("0 1 2 10", "02 00 01 10", (2, 0, 1, 3)),
        ("café thé", unicodedata.normalize("NFD", "thé café"), (1, 0)),
        # What is equal comes before what is alike.
        ("Polish polish", "polish Polish", (1, 0)),
        # The synsets as the model's names, and as the data set's.
        ("n01440764 n02102040", "English_springer tench", (1, 0)),
    ],
)
def test_classes_are_matched_by_their_names(mine, theirs, indices):
    assert match_classes(mine.split(), theirs.split()).indices == indices


def test_classes_with_spaces_in_their_names():
    match = match_classes(["traffic_light", "Stop-Sign", "car"], [" Traffic  Light", "stop_sign"])
    assert match.indices == (0, 1)
    assert match.respelled == ((" Traffic  Light", "traffic_light"), ("stop_sign", "Stop-Sign"))
    assert match.is_subset
    assert match.notes == [
        "class names that are written differently are taken for the same: ' Traffic  Light' is 'traffic_light', "
        "'stop_sign' is 'Stop-Sign'",
        "the data set has 2 of the model's 3 classes",
    ]


def test_the_thousand_classes_of_imagenet_have_three_kinds_of_names():
    places = tuple(map(IMAGENET.index, IMAGENETTE_NAMES))
    assert places == (0, 217, 482, 491, 497)
    described = [f"{synset}-{name}" for synset, name in zip(IMAGENETTE, IMAGENETTE_NAMES, strict=True)]
    for names in (IMAGENETTE, IMAGENETTE_NAMES, described):
        assert match_classes(IMAGENET, names).indices == places
        assert match_classes(IMAGENET, names[::-1]).indices == places[::-1]
    # "crane" is the name of two.
    assert match_classes(IMAGENET, ["n02012849", "n03126707"]).indices == (134, 517)
    with pytest.raises(UserError, match=r"^only in the data: 'crane'; only in the model: 'tench', "):
        match_classes(IMAGENET, ["crane"])


@pytest.mark.parametrize(
    ("mine", "theirs", "message"),
    [
        ("cat dog", "cat wolf", "only in the data: 'wolf'; only in the model: 'dog'"),
        ("cat dog", "cat dog cow", "only in the data: 'cow'"),
        # A model that numbers its classes does not say which is which.
        ("0 1", "cat dog", "only in the data: 'cat', 'dog'; only in the model: '0', '1'"),
        ("0 1 2", "1 2 3", "only in the data: '3'; only in the model: '0'"),
        # Which of the two is the model's is not said.
        ("cat dog", "Cat CAT dog", "only in the data: 'Cat', 'CAT'; only in the model: 'cat'"),
        ("Cat CAT", "cat", "only in the data: 'cat'; only in the model: 'Cat', 'CAT'"),
        ("a b c d e f g h", "x", "only in the data: 'x'; only in the model: 'a', 'b', 'c', 'd', 'e' and 3 more"),
        ("n01440764", "n99999999", "only in the data: 'n99999999'; only in the model: 'n01440764'"),
    ],
)
def test_classes_that_the_model_does_not_have(mine, theirs, message):
    with pytest.raises(UserError) as refusal:
        match_classes(mine.split(), theirs.split())
    assert str(refusal.value) == message


def test_all_classes_may_be_needed():
    assert match_classes(["a", "b"], ["b", "a"], subset=False, owner="run").indices == (1, 0)
    with pytest.raises(UserError, match=r"^only in the run: 'b'$"):
        match_classes(["a", "b"], ["a"], subset=False, owner="run")


def test_the_same_classes_in_the_same_order():
    assert same_classes(("cat", "n01440764"), ["Cat", "tench"])
    for other in (("dog", "cat"), ("cat",), ("cat", "dog", "cow"), ("cat", "cow")):
        assert not same_classes(("cat", "dog"), other)


def test_classes_of_one_name_are_told_apart():
    assert told_apart(["car", "bus", "car"], [3, 5, 7]) == ("car (3)", "bus", "car (7)")
    assert match_classes(["car", "car"], ["car", "car"]).indices == (0, 1)
