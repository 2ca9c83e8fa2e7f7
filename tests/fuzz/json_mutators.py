"""Mutators of JSON: annotations, cards, and the configurations of runs."""

import json
import zipfile

from tests.fuzz.archive_mutators import CARD, DAMAGED, replace_member
from tests.fuzz.mutators import named, of_files, of_texts


def _places(value):
    """All (container, key) pairs of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def _of_content(change):
    """Decorates a function of a JSON value and of the random numbers that returns it changed as text, or None."""

    def changed(path, rng):
        try:
            text = change(json.loads(_card_text(path) if path.suffix == ".keras" else path.read_bytes()), rng)
            if text is not None and path.suffix == ".keras":
                replace_member(path, CARD, text.encode())
            elif text is not None:
                path.write_text(text, "utf-8")
        except DAMAGED:
            return False
        return text is not None

    return of_files(".json", ".keras")(named(changed, change))


def _of_json(kinds):
    """Decorates a function of a container, of the key of a value of these kinds in it, and of the random numbers."""

    def decorate(change):
        def changed(content, rng):
            places = [(where, key) for where, key in _places(content) if _is_one(where[key], kinds)]
            if not places:
                return None
            change(*rng.choice(places), rng)
            return json.dumps(content)

        return _of_content(named(changed, change))

    return decorate


def _card_text(path):
    with zipfile.ZipFile(path) as archive:
        return archive.read(CARD)


def _is_one(value, kinds):
    return isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds and object not in kinds)


@_of_content
def indented(content, rng):
    return json.dumps(content, indent=rng.randrange(8))


@_of_content
def fields_in_the_order_of_their_names(content, rng):
    return json.dumps(content, sort_keys=True)


@_of_content
def letters_as_they_are(content, rng):
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace").decode()


@_of_content
def twice_the_same_field(content, rng):
    """The last one counts."""
    name = rng.choice(list(content)) if isinstance(content, dict) and content else None
    return None if name is None else "{" + f"{json.dumps(name)}: null, " + json.dumps(content)[1:]


@_of_json((object,))
def drop_an_entry(where, key, rng):
    del where[key]


@_of_json((object,))
def null(where, key, rng):
    where[key] = None


@_of_json((object,))
def nested(where, key, rng):
    where[key] = [where[key]]


@_of_json((object,))
def deeply_nested(where, key, rng):
    for _ in range(200):
        where[key] = [where[key]]


@_of_json((object,))
def an_object(where, key, rng):
    where[key] = {"value": where[key]}


@_of_json((dict,))
def an_unknown_field(where, key, rng):
    where[key]["note"] = "mine"


@_of_json((int, float))
def number_as_text(where, key, rng):
    where[key] = str(where[key])


@_of_json((int, float))
def not_a_number(where, key, rng):
    where[key] = float(rng.choice(("nan", "inf", "-inf")))


@_of_json((int, float))
def huge(where, key, rng):
    where[key] = 10 ** rng.choice((9, 30, 400))


@_of_json((int, float))
def negative(where, key, rng):
    where[key] = -1


@_of_json((int, float))
def zero(where, key, rng):
    where[key] = 0


@_of_json((int, float))
def whole_number_as_float(where, key, rng):
    where[key] = float(where[key]) if abs(where[key]) < 1e300 else where[key]


@_of_json((int, float))
def a_little_more(where, key, rng):
    where[key] += rng.choice((1, 0.5))


@_of_json((int, float, str))
def a_truth(where, key, rng):
    where[key] = rng.choice((True, False))


@_of_json((str,))
def text_of_other_letters(where, key, rng):
    where[key] += rng.choice((" ", "é", "\U0001f600", "\n", "\u2028", "\ud800", ""))


@_of_json((str,))
def text_as_number(where, key, rng):
    where[key] = rng.randrange(10)


@_of_json((str,))
def an_empty_text(where, key, rng):
    where[key] = ""


@_of_json((list,))
def twice_in_a_list(where, key, rng):
    where[key] += where[key][:1]


@_of_json((list,))
def another_order(where, key, rng):
    where[key] = where[key][::-1]


@_of_json((list,))
def an_empty_list(where, key, rng):
    where[key] = []


@of_texts(".json")
def a_comma_too_many(text, rng):
    return text.replace("]", ",]", 1)


@of_texts(".json")
def brackets_without_end(text, rng):
    return "[" * 100_000
