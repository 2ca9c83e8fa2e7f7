"""Links and images of a page: where they lead, and whether that is there."""

import collections
import html.parser
import itertools
import os.path
import posixpath
import re
import urllib.parse

from tests.docs.pages import text_of, tokens_of, tracked

# What a site or a reader's program resolves, not the checkout.
_ELSEWHERE = re.compile(r"(https?|mailto):")


def problems(page, text=None):
    """Returns what is wrong with the links and images of a page, a line each.

    Args:
        page: its path in the checkout.
        text: the page's text, by default what is stored.
    """
    found = []
    for target, alternative in references(text_of(page) if text is None else text):
        if alternative is not None and not alternative.strip():
            found.append(f"{page}: the image {target} has no alternative text")
        if not _ELSEWHERE.match(target):
            found += [f"{page}: {target} {wrong}" for wrong in _wrong_with(page, target, text)]
    return found


def _wrong_with(page, target, text):
    path, _, anchor = target.partition("#")
    if path.startswith("/"):
        return ["begins with /, which leads out of the checkout"]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(page), urllib.parse.unquote(path))) if path else page
    if page.startswith("docs/") and not file.startswith("docs/"):
        return ["leads out of docs/, where the site ends"]
    # A page of the site cannot lead to a folder, one on GitHub can.
    folder = not page.startswith("docs/") and any(name.startswith(f"{file}/") for name in tracked())
    if file not in tracked() and not folder:
        return ["is no file of a clone"]
    if not anchor:
        return []
    if os.path.splitext(file)[1] != ".md":
        return [] if re.fullmatch(r"L\d+(-L\d+)?", anchor) else ["has an anchor and is no page"]
    there = anchors(text if file == page and text is not None else text_of(file))
    return [] if anchor in there else ["leads to no heading"]


def references(text):
    """The targets of links and images in Markdown and in HTML, images with their alternative text, else None."""
    found = []
    for token in _flat(tokens_of(text)):
        if token.type == "link_open":
            found.append((token.attrs["href"], None))
        elif token.type == "image":
            found.append((token.attrs["src"], token.content))
        elif token.type in ("html_block", "html_inline"):
            for tag, attributes in _tags(token.content):
                if tag == "a" and attributes.get("href"):
                    found.append((attributes["href"], None))
                elif tag == "img":
                    found.append((attributes.get("src") or "", attributes.get("alt") or ""))
                elif tag == "source" and attributes.get("srcset"):
                    found.append((attributes["srcset"], None))
    return found


def anchors(text):
    """What `#` of a link can name: headings by GitHub's rule, and the `id` and `name` of HTML."""
    tokens = tokens_of(text)
    names, seen = set(), collections.Counter()
    for before, token in itertools.pairwise(tokens):
        if token.type == "inline" and before.type == "heading_open":
            shown = "".join(child.content for child in token.children if child.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
            names.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    for token in _flat(tokens):
        if token.type in ("html_block", "html_inline"):
            for _, attributes in _tags(token.content):
                names |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
    return names


def _flat(tokens):
    return [each for token in tokens for each in (token, *(token.children or ()))]


def _tags(text):
    parser = _Tags()
    parser.feed(text)
    return parser.tags


class _Tags(html.parser.HTMLParser):
    """Collects the tags of HTML and their attributes."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
