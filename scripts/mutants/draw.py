"""Draws faults over all packages of the library, reproducibly."""

import dataclasses
import pathlib
import random

from condconv_keras.utils.errors import UserError
from scripts.mutants.faults import Mutation, mutations

LIBRARY = "condconv_keras"
# Of earlier versions, which had these packages and the commands beside it.
_PARTS = (LIBRARY, "models", "export", "experiments")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A fault in a file.

    Attributes:
        package: of the library, as the tests have it.
        path: of the file in the checkout.
        mutation: the `Mutation`.
    """

    package: str
    path: str
    mutation: Mutation


def library_texts(checkout):
    """Returns a dict of the paths of the library's files in a checkout to their texts."""
    paths = [path for part in _PARTS for path in (checkout / part).rglob("*.py")]
    paths += checkout.glob("*.py")
    return {path.relative_to(checkout).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


def package_of(path):
    """Returns the name of the package that a file lies in; modules beside the packages have the library's."""
    parts = pathlib.PurePosixPath(path).parts
    if len(parts) == 1:
        return "commands"
    if parts[0] == LIBRARY:
        parts = parts[1:]
    return parts[0] if len(parts) > 1 else LIBRARY


def draw(texts, seed, count):
    """Draws faults.

    Args:
        texts: dict of paths to texts.
        seed: int; the same seed draws the same faults.
        count: number of faults, at least that of packages.

    Returns:
        List of `Mutant`, by package. No two make the same text, and each compiles to another program.

    Raises:
        UserError: there are more packages.
    """
    places = {}
    for path, text in sorted(texts.items()):
        for mutation in mutations(text):
            places.setdefault(package_of(path), {}).setdefault(mutation.kind, []).append((path, mutation))
    shares = share(count, {package: sum(map(len, kinds.values())) for package, kinds in places.items()})
    generator = random.Random(seed)
    drawn, seen = [], set()
    for package in sorted(places):
        wanted = len(drawn) + shares[package]
        while len(drawn) < wanted and any(places[package].values()):
            kind = generator.choice(sorted(kind for kind, found in places[package].items() if found))
            found = places[package][kind]
            path, mutation = found.pop(generator.randrange(len(found)))
            changed = (path, mutation.apply(texts[path]))
            if changed not in seen and mutation.is_felt(texts[path]):
                seen.add(changed)
                drawn.append(Mutant(package, path, mutation))
    return drawn


def share(count, sizes):
    """Returns a dict of how many of `count` each name of `sizes` has: one, and the others in proportion to its size."""
    if count < len(sizes):
        raise UserError(f"--count: expected at least one fault for each of {len(sizes)} packages, received {count}")
    quotas = {name: (count - len(sizes)) * size / sum(sizes.values()) for name, size in sizes.items()}
    shares = {name: 1 + int(quota) for name, quota in quotas.items()}
    by_rest = sorted(quotas, key=lambda name: (int(quotas[name]) - quotas[name], name))
    for name in by_rest[: count - sum(shares.values())]:
        shares[name] += 1
    return shares
