"""Links between the pages, their anchors and their images, as they are in a clone and on GitHub."""

import pytest

from tests.docs.links import anchors, problems, references
from tests.docs.pages import all_pages

IMAGE = "the image docs/results/experts/accuracy.png has no alternative text"


@pytest.mark.parametrize("page", all_pages())
def test_links_and_images_of_the_documentation_lead_somewhere(page):
    assert problems(page) == []


@pytest.mark.parametrize(
    ("page", "text", "wrong"),
    [
        ("README.md", "[a](docs/training.md) [b](docs) [c](LICENSE) [d](https://keras.io/#x) <mailto:a@b.c>", None),
        ("README.md", "# One `two`\n[a](#one-two)", None),
        ("docs/training.md", "[a](data.md#pixels) [b](results/speed.md) ![c](results/experts/accuracy.png)", None),
        ("README.md", "[a](docs/trainin.md)", "docs/trainin.md is no file of a clone"),
        ("README.md", "[a][x]\n\n[x]: doc", "doc is no file of a clone"),
        ("README.md", "[a](.venv/bin)", ".venv/bin is no file of a clone"),
        ("README.md", "[a](docs/data.md#pixel)", "docs/data.md#pixel leads to no heading"),
        ("README.md", "# One\n[a](#two)", "#two leads to no heading"),
        ("README.md", "[a](train.py#main)", "train.py#main has an anchor and is no page"),
        ("README.md", "[a](/docs/data.md)", "/docs/data.md begins with /, which leads out of the checkout"),
        ("docs/data.md", "[a](../README.md)", "../README.md leads out of docs/, where the site ends"),
        ("docs/data.md", "[a](docs/data.md)", "docs/data.md is no file of a clone"),
        ("docs/data.md", "[a](results)", "results is no file of a clone"),
        ("README.md", '<p><a href="doc">a</a></p>', "doc is no file of a clone"),
        (
            "README.md",
            "![](docs/results/experts/accuracy.png)",
            "the image docs/results/experts/accuracy.png has no alt",
        ),
        (
            "README.md",
            '<img src="docs/results/experts/accuracy.png">',
            IMAGE,
        ),
        ("README.md", "![a](a.png)", "a.png is no file of a clone"),
        ("README.md", "[![a](a.png)](https://keras.io)", "a.png is no file of a clone"),
    ],
)
def test_what_leads_nowhere_is_named(page, text, wrong):
    found = problems(page, text)
    assert len(found) == (wrong is not None), found
    assert wrong is None or found[0].startswith(f"{page}: {wrong}")


def test_links_in_code_are_none():
    assert references("`[a](b)`\n\n```text\n[a](b)\n```\n") == []


def test_anchors_are_those_of_github():
    text = (
        "# GPUs and NPUs, `--static_kernels`\n## Same\n## Same\nSet [ext](a) *i* & _j_\n---\n"
        '<a id="here"></a>\n\n```bash\n# no heading\n```\n'
    )
    assert anchors(text) == {"gpus-and-npus---static_kernels", "same", "same-1", "set-ext-i--j", "here"}
