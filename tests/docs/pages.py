"""The pages of the documentation: which there are, and their Markdown as tokens."""

import functools
import re
import subprocess

from markdown_it import MarkdownIt

from tests.processes import ROOT

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
# What a checkout has beside the files of a clone: environments, caches, and what `make` and the examples write.
_MADE = re.compile(r"(\.(?!github|pre-commit|gitignore|ci)|build/|dist/|exported/|runs/|site/)|(.*/)?__pycache__/")


@functools.cache
def tracked():
    """The files that a clone has, as a set of paths in the checkout with slashes."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.stdout:
        return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    # A source distribution.
    names = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file())
    return {name for name in names if not _MADE.match(name)}


def guides():
    """README.md and the pages in docs/, whose code is run."""
    return ["README.md", *sorted(name for name in tracked() if name.startswith("docs/") and name.endswith(".md"))]


def all_pages():
    """Everything that is read as documentation."""
    return [*guides(), *sorted({"CONTRIBUTING.md", "CHANGELOG.md"} & tracked())]


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def tokens_of(text):
    """The block tokens of a text in Markdown, whose lines keep their numbers.

    What stands between two lines of `---` at the beginning is for the generator of the site.
    """
    text = _FRONT_MATTER.sub(lambda match: "\n" * match[0].count("\n"), text)
    return MarkdownIt("commonmark").enable("table").parse(text)
