"""How blocks of code are read from a page and counted, and what is said of those that break the rules."""

import pytest

from tests.docs.blocks import Block, counts, prints, read, summary

PAGE = """\
---
hide: navigation
---

# Page

<!-- slow: trains -->
```bash
python train.py
```

```text
top-1 ...
```

- an item:

  ```python
  import keras

  print(keras.version())
  ```

<!-- not run: needs Android -->

```kotlin
val a = 1
```
Prose.

```text
a tree of files
```

```json
{"a": 1}
```

````bash
cat <<E
```
E
````
"""


def test_blocks_have_their_lines_marks_and_outputs():
    blocks, problems = read("a.md", PAGE)
    assert problems == []
    assert blocks == [
        Block("a.md", 9, "bash", "python train.py\n", "slow", "top-1 ...\n"),
        Block("a.md", 19, "python", "import keras\n\nprint(keras.version())\n"),
        Block("a.md", 27, "kotlin", "val a = 1\n", "not run"),
        Block("a.md", 40, "bash", "cat <<E\n```\nE\n"),
    ]
    assert [block.place for block in blocks if block.is_run] == ["a.md:9", "a.md:19", "a.md:40"]
    assert [block.is_slow for block in blocks] == [True, False, False, False]
    assert counts(blocks) == (2, 1, 1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# A\n```\nls\n```\n", "a.md:2: the fence has no language"),
        ("```console\nls\n```\n", "a.md:1: the language 'console' is unknown"),
        ("A:\n\n    ls\n", "a.md:3: code is indented, not fenced"),
        ("```swift\nlet a = 1\n```\n", "a.md:1: swift cannot be run: say why"),
        (
            "<!-- slow: why -->\n```swift\nlet\n```\n",
            "a.md:2: swift cannot be run: say why",
        ),
        ("<!-- slow -->\n```bash\nls\n```\n", "a.md:1: the mark 'slow' gives no reason"),
        ("<!-- not run: -->\n```bash\nls\n```\n", "a.md:1: the mark 'not run' gives no reason"),
        (
            "<!-- slow: trains -->\nWords.\n\n```bash\nls\n```\n",
            "a.md:1: the mark 'slow' is not directly above a fence",
        ),
        ("<!-- slow: trains -->\n", "a.md:1: the mark 'slow' is not directly above a fence"),
        (
            "<!-- slow: a -->\n\n<!-- slow: b -->\n```bash\nls\n```\n",
            "a.md:1: the mark 'slow' is not directly above a fence",
        ),
        ("<!-- slow: why -->\n```text\na\n```\n", "a.md:1: text is not run: it needs no mark"),
        ("```json\n{'a': 1}\n```\n", "a.md:2: it is no JSON: "),
        ("```bash\nmake demo\n```\n", "a.md:1: it installs: it is slow, <!-- slow: why -->"),
        ("```bash\npython -m pip install .\n```\n", "a.md:1: it installs: it is slow, <!-- slow: why -->"),
    ],
)
def test_a_block_that_breaks_a_rule_is_named_by_its_line(text, problem):
    (found,) = read("a.md", text)[1]
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("code", "installs"),
    [
        ("# make it\npython train.py --make=1  # pip\n", False),
        ("source .venv/bin/activate", False),
        ("python -m venv other\nother/bin/python -m pip install x\nother/bin/pip install y", False),
        ("echo pip; echo make", False),
        ("python -m condconv_keras.weights --make=1", False),
        ("make demo", True),
        (".venv/bin/pip install .", True),
        ("PIP_QUIET=1 .venv/bin/python -m pip install .", True),
        ("cd x && make", True),
        ("  pip install .", True),
        ("python3.12 -m venv .venv", True),
        ("python -m venv --clear .venv", True),
        ("ls; python -m pip install .", True),
    ],
)
def test_what_changes_the_environment_installs(code, installs):
    assert Block("a.md", 1, "bash", code).installs == installs
    assert not Block("a.md", 1, "python", code).installs


@pytest.mark.parametrize(
    ("output", "printed", "same"),
    [
        ("a\n", "a", True),
        ("a\nb\n", "\na  \nb\n\n", True),
        ("a\n", "a\nb\n", False),
        ("a\n", "", False),
        ("top-1 0.9...\n...\nend\n", "top-1 0.97\nx\ny\nend\n", True),
        ("top-1 0.9...\n", "top-1 0.87\n", False),
        ("[a.b]\n", "[a.b]\n", True),
        ("[a.b]\n", "[axb]\n", False),
        ("a\n...\n", "b\na\nc\n", False),
    ],
)
def test_an_output_is_all_that_is_printed_but_for_dots(output, printed, same):
    assert prints(Block("a.md", 1, "bash", "ls", output=output), printed) == same


def test_the_summary_counts_a_block_once_and_none_of_other_tests():
    blocks = [
        Block("README.md", 3, "bash", "ls"),
        Block("README.md", 9, "bash", "make demo", "slow"),
        Block("README.md", 19, "bash", "ls"),
        Block("README.md", 29, "bash", "ls", "not run"),
    ]
    test = "tests/docs/test_blocks.py::test_a_block_of_the_documentation_runs"
    ran = [
        f"{test}[README.md:3]",
        f"{test}[README.md:3 installed]",
        "tests/docs/test_blocks.py::test_other[README.md:19]",
    ]
    assert summary(ran, blocks) == (
        "code blocks of README.md and docs/: 1 run (1 of 2 quick ones, 0 of 1 slow ones, which `make test-all` runs), "
        "1 of 4 not run, their pages say why"
    )
    assert ": 2 run (1 of 2 quick ones, 1 of 1 slow ones" in summary([*ran, f"{test}[README.md:9 installed]"], blocks)
