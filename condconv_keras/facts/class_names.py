"""The names of classes: what tells two of one name apart, and which of a model's classes those of a data set are."""

import collections
import dataclasses
import re
import unicodedata

from condconv_keras.facts import imagenet
from condconv_keras.utils.errors import UserError, some_of


@dataclasses.dataclass(frozen=True)
class ClassMatch:
    """The classes of a data set among those of a model.

    Attributes:
        indices: for each class of the data set the index of the model's class, each once.
        respelled: the pairs (the data set's name, the model's name) that are written differently.
        classes: how many classes the model has.
    """

    indices: tuple[int, ...]
    respelled: tuple[tuple[str, str], ...]
    classes: int

    @property
    def is_subset(self):
        """Whether the data set lacks some of the model's classes."""
        return len(self.indices) < self.classes

    @property
    def notes(self):
        """What a person has to know of it, a list of texts; empty where the classes are the same in the same order."""
        found = []
        if self.respelled:
            pairs = [f"{theirs!r} is {mine!r}" for theirs, mine in self.respelled]
            found.append(f"class names that are written differently are taken for the same: {some_of(pairs)}")
        if list(self.indices) != sorted(self.indices):
            found.append("the data set has its classes in another order than the model: they are matched by name")
        if self.is_subset:
            found.append(f"the data set has {len(self.indices)} of the model's {self.classes} classes")
        return found


def told_apart(names, marks):
    """Returns the names as a tuple, those that occur more than once followed by their mark: `"crane (7)"`.

    Args:
        names: sequence of strings.
        marks: of each name what tells it from its equals, such as its id in the data.
    """
    counts = collections.Counter(names)
    return tuple(f"{name} ({mark})" if counts[name] > 1 else name for name, mark in zip(names, marks, strict=True))


def spelled_alike(names):
    """Returns the tuples of names that differ in their spelling only, as of `match_classes`, in their order."""
    alike = collections.defaultdict(list)
    for name in names:
        alike[_spelling(name)].append(name)
    return [tuple(of_one) for of_one in alike.values() if len(of_one) > 1]


def match_classes(model_names, data_names, subset=True, owner="model"):
    """Finds the classes of a data set among those of a model, by their names.

    Names are the same if they are equal, if one is the WordNet id of a class of ImageNet and the other its name or
    starts with the id ("n02085620-Chihuahua"), or if they differ in case, in the characters between words, in leading
    zeros of a number or in the form of Unicode; a name that several classes have in such a form means none of them.

    Args:
        model_names, data_names: sequences of strings.
        subset: whether the data set may lack some of the model's classes.
        owner: whose classes the model's are, for the message.

    Returns:
        A `ClassMatch`.

    Raises:
        UserError: a class has no equal; the message names the difference and nothing else.
    """
    found = _same_names(tuple(model_names), tuple(data_names))
    if len(found) < len(data_names) or (len(found) < len(model_names) and not subset):
        taken = set(found.values())
        unknown = [repr(name) for place, name in enumerate(data_names) if place not in found]
        missing = [repr(name) for place, name in enumerate(model_names) if place not in taken]
        parts = [("only in the data", unknown), (f"only in the {owner}", missing)]
        raise UserError("; ".join(f"{where}: {some_of(names)}" for where, names in parts if names))
    indices = tuple(found[place] for place in range(len(data_names)))
    pairs = [(theirs, model_names[i]) for theirs, i in zip(data_names, indices, strict=True)]
    respelled = tuple((theirs, mine) for theirs, mine in pairs if theirs != mine)
    return ClassMatch(indices, respelled, len(model_names))


def same_classes(model_names, data_names):
    """Whether two lists of names mean the same classes in the same order, as of `match_classes`."""
    found = _same_names(tuple(model_names), tuple(data_names))
    return len(found) == len(model_names) == len(data_names) and all(mine == theirs for theirs, mine in found.items())


def _same_names(model_names, data_names):
    """A dict of the places of the data set's names to those of the model's that are the same."""
    if model_names == data_names:
        return {place: place for place in range(len(data_names))}
    found, taken = {}, set()
    # What is surely the same comes first.
    for form in (str, _composed, _synset_name, _spelling):
        mine, theirs = (_unique(names, form) for names in (model_names, data_names))
        for name in mine.keys() & theirs.keys():
            if theirs[name] not in found and mine[name] not in taken:
                found[theirs[name]] = mine[name]
                taken.add(mine[name])
    return found


def _unique(names, form):
    """A dict of the names in a form to their places, without those that several have."""
    formed = [form(name) for name in names]
    counts = collections.Counter(formed)
    return {name: place for place, name in enumerate(formed) if counts[name] == 1}


def _composed(name):
    return unicodedata.normalize("NFC", name)


def _synset_name(name):
    """The name of the class of ImageNet whose WordNet id a name is or starts with, else the name."""
    synset = re.match(r"n\d{8}(?![0-9A-Za-z])", name)
    return imagenet.names_by_synset().get(synset[0], name) if synset else name


def _spelling(name):
    """A name without what differs between spellings of one."""
    words = unicodedata.normalize("NFKC", _synset_name(name)).casefold()
    words = " ".join(re.split(r"[\s_-]+", words.strip()))
    return str(int(words)) if words.isdecimal() else words
