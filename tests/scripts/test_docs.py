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


def test_nothing_is_wrong_with_a_whole_project(project):
    assert docs.build(project) == []
    assert "Doubles a number" in (project / "site/more/index.html").read_text()


@pytest.mark.parametrize(
    "file, old, new, expected",
    [
        ("docs/index.md", "more.md#section", "gone.md", "gone.md"),
        ("docs/index.md", "#section", "#gone", "gone"),
        ("docs/index.md", "picture.svg", "gone.svg", "gone.svg"),
        ("docs/index.md", "picture.svg", "https://pictures.example/a.svg", "another host"),
        ("zensical.toml", ', { "More" = ["more.md"] }', "", "more.md is not in the navigation"),
        ("zensical.toml", '"more.md"', '"more.md", "gone.md"', "gone.md"),
        ("zensical.toml", "font = false", "", "fonts.googleapis.com"),
        ("docs/more.md", "double", "triple", "triple"),
        ("small_module.py", "x: the", "y: the", "'y'"),
    ],
    ids=lambda value: None,
)
def test_a_fault_is_named(project, file, old, new, expected):
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))
    problems = docs.build(project)
    assert any(expected in problem for problem in problems), problems


@pytest.mark.slow
def test_the_site_of_the_project_has_no_fault():
    assert docs.build(processes.ROOT) == []
