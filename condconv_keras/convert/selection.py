"""Which layers of a model are converted, and which of them share a router."""

from __future__ import annotations

import collections
import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras

from condconv_keras.convert.graph import Place
from condconv_keras.utils.errors import UserError

# Names and patterns, or a function of a layer.
Layers: TypeAlias = str | Sequence[str] | Callable[[keras.Layer], bool]
# "layer", "block", patterns by the names of routers, or a function of a layer that returns such a name or None.
Routers: TypeAlias = str | Mapping[str, str | Sequence[str]] | Callable[[keras.Layer], str | None]

# As the zoo and keras.applications name the layers of a block: block_7_expand, block3a_dwconv, conv4_block2_1_conv,
# expanded_conv_3_expand (MobileNetV3), conv_dw_3 and conv_pw_3 (MobileNet).
_BLOCK = re.compile(r"(.*?(?:block|expanded_conv)_?\d+[a-z]?)(?:_|$)|conv_[dp]w_(\d+)$", re.IGNORECASE)
_SHOWN = 8


def chosen(places: Sequence[Place], layers: Layers) -> list[Place]:
    """The places that a user's choice names, in the order of the graph.

    Args:
        places: all of the model.
        layers: names or glob patterns of layers or of their paths (`Place.path`), or a function of a layer.

    Raises:
        UserError: a pattern matches none, or the function takes none.
    """
    if callable(layers) and not isinstance(layers, keras.Layer):
        taken = [place for place in places if layers(place.layer)]
        if not taken:
            raise UserError(f"expected `layers` to take one of the model's {len(places)} layers{_known(places)}")
        return taken
    patterns = _patterns(layers, "layers")
    matches = {pattern: [place for place in places if _fits(place, pattern)] for pattern in patterns}
    for pattern, found in matches.items():
        if not found:
            raise UserError(
                f"expected names or patterns of convolutions or dense layers in `layers`, {pattern!r} is that of none"
                f"{_known(places)}"
            )
    return [place for place in places if any(place in found for found in matches.values())]


def deeper_half(places: Sequence[Place], multiply_adds: Mapping[int, int]) -> list[Place]:
    """The last convolutions of a model that have half of the multiply-adds of all (paper, section 4: deeper pays more).

    Args:
        places: all of the model.
        multiply_adds: of all calls of a layer, by its id.

    Raises:
        UserError: there is no convolution.
    """
    convolutions = [place for place in places if place.is_convolution]
    if not convolutions:
        raise UserError(f"expected a model with convolutions to convert, or names in `layers`{_known(places)}")
    total = sum(multiply_adds.get(id(place.layer), 0) for place in convolutions)
    taken: list[Place] = []
    done = 0
    for place in reversed(convolutions):
        if 2 * done >= total and taken:
            break
        taken.insert(0, place)
        done += multiply_adds.get(id(place.layer), 0)
    return taken


class SharedRouter(NamedTuple):
    """A router that layers share.

    Attributes:
        model_path: of the model that they lie in.
        name: of the router, if the model has no layer of that name.
    """

    model_path: str
    name: str


def shared_routers(places: Sequence[Place], routing: Routers) -> dict[int, SharedRouter]:
    """The routers that layers share, by the id of each such layer; others have routers of their own.

    Args:
        places: those that are converted.
        routing: `"layer"`: none is shared; `"block"`: one for each block as of the layers' names; a dict of the names
            of routers to names or patterns of layers; or a function of a layer that returns the name of its router, or
            None for its own.

    Raises:
        UserError: a pattern is that of no place or of one that has a router, layers of a block are not found, or layers
            that share a router by a user's word lie in several models or are called more than once.
    """
    names = _router_names(places, routing)
    groups: dict[str, list[Place]] = collections.defaultdict(list)
    for place in places:
        if id(place.layer) in names:
            groups[names[id(place.layer)]].append(place)
    for name, group in groups.items() if routing != "block" else ():
        _check_group(name, group)
    # One call of a router cannot serve several calls of a layer.
    return {
        id(place.layer): SharedRouter(place.model_path, names[id(place.layer)])
        for place in places
        if id(place.layer) in names and (len(place.calls) == 1 or len(groups[names[id(place.layer)]]) == 1)
    }


def _router_names(places: Sequence[Place], routing: Routers) -> dict[int, str]:
    if callable(routing):
        found = {id(place.layer): routing(place.layer) for place in places}
        for name in found.values():
            if not (name is None or (isinstance(name, str) and name)):
                raise UserError(
                    f"expected the name of a router or None of the function in `routing`, received {name!r}"
                )
        return {layer: name for layer, name in found.items() if name is not None}
    if isinstance(routing, Mapping):
        return _listed_names(places, routing)
    if routing == "layer":
        return {}
    if routing != "block":
        raise UserError(
            "expected 'layer', 'block', a dict of routers' names to patterns of layers, or a function in `routing`, "
            f"received {routing!r}"
        )
    blocks = {id(place.layer): _BLOCK.match(place.layer.name) for place in places}
    named = {layer: f"{match[1] or f'block_{match[2]}'}_routing" for layer, match in blocks.items() if match}
    if not named:
        raise UserError(
            "expected layers with a block in their names, as in 'block_7_expand', for `routing='block'`"
            f"{_known(places)}"
        )
    return named


def _listed_names(places: Sequence[Place], routing: Mapping[str, str | Sequence[str]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for name, patterns in routing.items():
        for pattern in _patterns(patterns, "routing"):
            found = [place for place in places if _fits(place, pattern)]
            taken = [place for place in found if names.get(id(place.layer), name) != name]
            if not found or taken:
                problem = f"{taken[0].path!r} has the router {names[id(taken[0].layer)]!r}" if taken else "none"
                raise UserError(
                    f"expected converted layers without another router for {name!r} in `routing`, {pattern!r} is that "
                    f"of {problem}{'' if taken else _known(places)}"
                )
            names |= {id(place.layer): name for place in found}
    return names


def _check_group(name: str, group: Sequence[Place]) -> None:
    if len({place.model_path for place in group}) > 1:
        raise UserError(
            f"expected the layers of the router {name!r} in one model, {group[0].path!r} and {group[-1].path!r} lie in "
            "several"
        )
    repeated = [place.path for place in group if len(place.calls) > 1]
    if repeated and len(group) > 1:
        raise UserError(
            f"expected layers that are called once for the router {name!r} to share, {repeated[0]!r} is called more "
            "often: give it a router of its own"
        )


def _patterns(names: Any, argument: str) -> list[str]:
    patterns = [names] if isinstance(names, str) else names
    if not isinstance(patterns, Sequence) or not patterns or not all(isinstance(name, str) for name in patterns):
        raise UserError(f"expected names or patterns of layers in `{argument}`, received {names!r}")
    return list(patterns)


def _fits(place: Place, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in (place.layer.name, place.path))


def _known(places: Sequence[Place]) -> str:
    """The end of a message: which layers there are."""
    if not places:
        return "; the model has none that can be converted"
    paths = [place.path for place in places]
    return f"; those of the model are {', '.join(paths[:_SHOWN])}{', ...' if paths[_SHOWN:] else ''}"
