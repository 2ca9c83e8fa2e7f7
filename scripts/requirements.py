"""Writes requirements.txt and requirements-dev.txt from pyproject.toml: `python -m scripts.requirements`."""

import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
_HEAD = "# Made from pyproject.toml, which has the reasons, by `make requirements`"


def texts(pyproject):
    """Returns the text of each file of requirements by its name.

    Args:
        pyproject: text of a `pyproject.toml`.
    """
    tables = tomllib.loads(pyproject)
    project, groups = tables["project"], tables["dependency-groups"]
    own = re.compile(rf"{project['name']}\b")
    packages = {
        requirement
        for requirements in (project["dependencies"], *project["optional-dependencies"].values())
        for requirement in requirements
        if not own.match(requirement)
    }
    return {
        "requirements.txt": _lines(f"{_HEAD}: the library with all its extras.", sorted(packages)),
        "requirements-dev.txt": _lines(f"{_HEAD}.", ["-r requirements.txt", *groups["dev"]]),
    }


def _lines(head, requirements):
    return "\n".join([head, *requirements]) + "\n"


def main():
    """Writes the files."""
    for name, text in texts((ROOT / "pyproject.toml").read_text(encoding="utf-8")).items():
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
