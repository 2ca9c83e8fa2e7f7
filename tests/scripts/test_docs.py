"""What `make docs` refuses: a project of one page for each fault."""

import pytest

from scripts import docs
from tests import processes

CONFIG = """
[project]
site_name = "small"
docs_dir = "docs"
site_dir = "site"
nav = [{ "Home" = "index.md" }, { "More" = ["more.md"] }]
[project.theme]
font = false
[project.plugins.mkdocstrings.handlers.python]
paths = ["."]
"""
MODULE = '''
def double(x: int) -> int:
    """Doubles a number.

    Args:
        x: the number.
    """
    return 2 * x
'''


@pytest.fixture
def project(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "zensical.toml").write_text(CONFIG)
    (tmp_path / "docs/index.md").write_text("# Home\n\n[More](more.md#section)\n\n![A picture](picture.svg)\n")
    (tmp_path / "docs/more.md").write_text("# More\n\n## Section\n\n::: small_module.double\n")
    (tmp_path / "docs/picture.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "small_module.py").write_text(MODULE)
    return tmp_path


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_whole_project_has_no_fault_and_each_fault_of_its_pages_is_named(project):
    assert docs.build(project) == []
    page = project / "site/index.html"
    assert "Doubles a number" in (project / "site/more/index.html").read_text()
    for old, new, problem in (
        ("picture.svg", "gone.svg", "<img> refers to 'gone.svg', which is not there"),
        (
            "gone.svg",
            "https://pictures.example/a.svg",
            "<img> loads 'https://pictures.example/a.svg' from another host",
        ),
        ("more/#section", "more/#gone", "<a> refers to 'more/#gone', whose anchor is not there"),
        ("more/#gone", "gone/", "<a> refers to 'gone/', which is not there"),
    ):
        change(page, old, new)
        assert f"index.html: {problem}" in docs.broken_references(project / "site")


def test_pages_and_navigation_are_the_same(project):
    nav = [{"Home": "index.md"}, {"More": [{"Section": ["more.md"]}]}]
    assert docs.unlisted_pages(project / "docs", nav) == []
    assert docs.unlisted_pages(project / "docs", [*nav, "gone.md"]) == [
        "the navigation names gone.md, which is not there"
    ]
    assert docs.unlisted_pages(project / "docs", nav[:1]) == ["more.md is not in the navigation"]


@pytest.mark.parametrize(
    "file, old, new, expected",
    [
        ("small_module.py", "x: the", "y: the", "'y' does not appear"),
        *(
            pytest.param(*fault, marks=pytest.mark.slow)
            for fault in (
                ("docs/more.md", "double", "triple", "small_module.triple could not be found"),
                ("docs/index.md", "more.md#section", "gone.md", "index.md:3"),
                ("docs/index.md", "#section", "#gone", "index.md:3"),
                ("zensical.toml", '"more.md"', '"more.md", "gone.md"', "gone.md, which is not there"),
                ("zensical.toml", "font = false", "", "fonts.googleapis.com"),
            )
        ),
    ],
    ids=lambda value: None,
)
def test_a_fault_of_a_source_is_named(project, file, old, new, expected):
    change(project / file, old, new)
    problems = docs.build(project)
    assert any(expected in problem for problem in problems), problems


@pytest.mark.slow
def test_the_site_of_the_project_has_no_fault():
    assert docs.build(processes.ROOT) == []
