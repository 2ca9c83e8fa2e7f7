"""CHANGELOG.md has the form of Keep a Changelog, and knows the version of the package."""

import datetime
import re
import tomllib

import pytest

from condconv_keras.facts import old_names
from tests.processes import ROOT

TEXT = (ROOT / "CHANGELOG.md").read_text()
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+) - (\d{4}-\d{2}-\d{2})")


def sections(text, level):
    """A dict of the headings of a level to what stands below each."""
    _, *parts = re.split(rf"^{level} (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_versions_are_dated_and_the_newest_is_first():
    first, *released = sections(TEXT, "##")
    assert first == "Unreleased"
    found = [_VERSION.fullmatch(heading) for heading in released]
    assert found and all(found), released
    versions = [tuple(map(int, match.groups()[:3])) for match in found]
    dates = [datetime.date.fromisoformat(match[4]) for match in found]
    assert versions == sorted(set(versions), reverse=True)
    assert dates == sorted(dates, reverse=True)


def test_the_version_of_the_package_is_released_or_the_next_one():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    versions = sections(TEXT, "##")
    released = [heading for heading in versions if heading.startswith(f"{version} ")]
    assert released or f"version {version}" in versions["Unreleased"]


def test_changes_are_lists_of_known_kinds():
    for heading, text in sections(TEXT, "##").items():
        kinds = sections(text, "###")
        assert kinds and list(kinds) == [kind for kind in KINDS if kind in kinds], heading
        for kind, changes in kinds.items():
            lines = [line for line in changes.splitlines() if line]
            assert lines[0].startswith("- "), (heading, kind)
            assert all(line.startswith(("- ", "  ")) for line in lines), (heading, kind)


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_do_not_depend_on_the_folder_that_the_site_has_the_page_in(name):
    links = re.findall(r"\]\(([^)]*)\)", (ROOT / name).read_text())
    assert [link for link in links if not link.startswith("https://")] == []


def test_the_upgrade_page_has_every_old_name():
    text = (ROOT / "docs/upgrading.md").read_text()
    tables = [old_names.PREPROCESSING, old_names.TRAIN_FLAGS, old_names.EXPORT_FLAGS, old_names.IMPLEMENTATIONS]
    for old, new in {name: names[name] for names in tables for name in names}.items():
        rows = [line for line in text.splitlines() if line.startswith("|") and old in line and new in line]
        assert rows, f"no row for {old}, now {new}"
