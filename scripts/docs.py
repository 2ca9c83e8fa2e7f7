"""Builds the site of docs/ into site/: `python -m scripts.docs`. What would be a warning is an error.

`zensical build --strict` refuses links between pages that lead nowhere. It passes over what mkdocstrings warns of and
pages that the navigation lacks; and in what it has built nobody looks for images and files that are not there, or for
what a page loads from another host. All of it is refused here.
"""

import html.parser
import pathlib
import re
import subprocess
import sys
import tomllib
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What the build says where nothing is wrong, and the codes that color what it says else.
_PROGRESS = re.compile(r"Build started|Build finished|No issues found|\s*$")
_COLOR = re.compile(r"\x1b\[[\d;]*m")
# Elements that load what they name; other links are followed by a reader.
_LOADING = ("audio", "embed", "iframe", "img", "link", "script", "source", "video")


def build(folder):
    """Builds the site of a project; returns a list of what is wrong with it, a line each.

    Args:
        folder: path of the project, which has a `zensical.toml`.
    """
    folder = pathlib.Path(folder)
    project = tomllib.loads((folder / "zensical.toml").read_text(encoding="utf-8"))["project"]
    # Without the cache: of a page that is in it nothing is said again.
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    finished = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = _COLOR.sub("", finished.stdout)
    print(output, end="")
    said = output.partition("Traceback (most recent call last)")[0].splitlines()
    problems = [line for line in said if not _PROGRESS.match(line)]
    problems += unlisted_pages(folder / project["docs_dir"], project["nav"])
    if finished.returncode:
        # Where something else than a page is at fault, only the last error says so.
        return problems or re.findall(r"^\w*Error: .*", output, re.MULTILINE) or [f"exit code {finished.returncode}"]
    return problems + broken_references(folder / project["site_dir"])


def unlisted_pages(docs, nav):
    """Returns a line for each page of a folder that a navigation lacks, and for each that is not there.

    Args:
        docs: `pathlib.Path` of the folder of the pages.
        nav: the navigation, as of a `zensical.toml`.
    """
    listed = set(_leaves(nav))
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    lacking = [f"{page} is not in the navigation" for page in sorted(pages - listed)]
    return lacking + [f"the navigation names {page}, which is not there" for page in sorted(listed - pages)]


def _leaves(nav):
    """The paths in a navigation: strings, and the values of tables at any depth."""
    for item in nav:
        if isinstance(item, str):
            yield item
        else:
            for value in item.values():
                yield from [value] if isinstance(value, str) else _leaves(value)


def broken_references(site):
    """Returns a line for each link and image of built pages that leads nowhere, and for what they load from elsewhere.

    Args:
        site: `pathlib.Path` of the folder of the site.
    """
    pages = {path: _Page(path) for path in sorted(site.rglob("*.html"))}
    return [
        f"{path.relative_to(site)}: {problem}"
        for path, page in pages.items()
        for tag, reference in page.references
        if (problem := _problem(site, pages, path, tag, reference))
    ]


class _Page(html.parser.HTMLParser):
    """A built page: its anchors, and the pairs of a tag and what it refers to."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.references = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        self.references += [(tag, attributes[name]) for name in ("href", "src") if attributes.get(name)]


def _problem(site, pages, path, tag, reference):
    """What is wrong with a reference of a page, or None."""
    parts = urllib.parse.urlsplit(reference)
    if parts.scheme or parts.netloc:
        is_foreign = tag in _LOADING and parts.scheme != "data"
        return f"<{tag}> loads {reference!r} from another host" if is_foreign else None
    # A page that may be shown at any address, as that of an error, begins at the root.
    target = site / urllib.parse.unquote(parts.path).lstrip("/") if parts.path.startswith("/") else None
    target = target or (path if not parts.path else path.parent / urllib.parse.unquote(parts.path))
    target = target.resolve()
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return f"<{tag}> refers to {reference!r}, which is not there"
    anchor = urllib.parse.unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return f"<{tag}> refers to {reference!r}, whose anchor is not there"
    return None


def main():
    """Builds the project's own site; the exit code is 1 if anything is wrong with it."""
    problems = build(ROOT)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
