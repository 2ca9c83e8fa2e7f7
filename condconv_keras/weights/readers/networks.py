"""The networks of other code bases, found by the model of the zoo."""

from condconv_keras.models.registry import ZOO, model_entry
from condconv_keras.utils.errors import UserError


def foreign_networks(code_base, name):
    """Returns the `ForeignNetwork`s of a code base whose weights a model takes, the default first.

    Args:
        code_base: as in `condconv_keras.facts.foreign_networks.TIMM`.
        name: registry name.

    Raises:
        UserError: there are none, or no model of this name.
    """
    entry = model_entry(name)
    if code_base in entry.look_alikes:
        raise UserError(entry.look_alikes[code_base])
    if code_base not in entry.foreign:
        names = [other.name for other in ZOO.values() if code_base in other.foreign]
        plain = name.removeprefix("condconv_")
        hint = f"; import them as {plain!r} and warm start the twin from it" if plain in names else ""
        raise UserError(f"{code_base} weights are for {', '.join(names)}, not for {name!r}{hint}")
    return entry.foreign[code_base]
