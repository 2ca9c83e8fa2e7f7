"""The blocks of code on a page of the documentation: how each is run, or why not, and what it prints.

A block is a fence with a language. `bash` and `python` are run. `text` is what the block directly above it prints.
One line directly above a fence may say `<!-- slow: why -->`: `make test-all` alone runs the block; or
`<!-- not run: why -->`: it cannot be run where the tests are. A page that installs something begins with nothing
installed.
"""

import dataclasses
import json
import re

from tests.docs.pages import guides, text_of, tokens_of

RUN = ("bash", "python")
# Code of other machines; it needs a reason.
FOREIGN = ("groovy", "java", "kotlin", "objectivec", "swift")
# The content of files, and output.
DATA = ("bibtex", "csv", "diff", "ini", "json", "text", "toml", "xml", "yaml")
# The least number of blocks to one that is not run.
BLOCKS_PER_NOT_RUN = 5

_MARK = re.compile(r"<!--\s*(slow|not run)\b\s*(.*?)\s*-->\s*", re.DOTALL)
# Commands that change the environment whose Python comes first, or `.venv`; not one that the block makes elsewhere.
_INSTALLS = re.compile(
    r"""(^|[;&|(])\s*(\w+=\S*[ ]+)*(\.venv/bin/)?
    (pip3?|make|uv|python3?(\.\d+)?[ ]-m[ ](pip|venv[ ](\S+[ ])*\.venv))(?=[\s;&|)]|$)""",
    re.MULTILINE | re.VERBOSE,
)
_COMMENT = re.compile(r"(^|\s)#.*")
_TESTED = re.compile(r"test_blocks\.py::test_a_block\w*\[(\S+)( installed)?\]")


@dataclasses.dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        page: path of the page in the checkout.
        line: number of the line after the opening fence, from 1: where the code begins.
        language: as the fence says.
        code: the text.
        mark: "slow", "not run" or None.
        output: what the page says that it prints, `...` for any text, or None.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str | None = None
    output: str | None = None

    @property
    def place(self):
        return f"{self.page}:{self.line}"

    @property
    def is_run(self):
        return self.language in RUN and self.mark != "not run"

    @property
    def is_slow(self):
        return self.is_run and self.mark == "slow"

    @property
    def installs(self):
        """Whether it changes its environment."""
        return self.language == "bash" and bool(_INSTALLS.search(_COMMENT.sub("", self.code)))


def read(page, text=None):
    """Returns the blocks of code of a page and what is wrong with it.

    Args:
        page: its path in the checkout.
        text: the page's text, by default what is stored.

    Returns:
        A list of `Block` in the order of the page, and a list of lines.
    """
    reader = _Reader(page)
    for token in tokens_of(text_of(page) if text is None else text):
        reader.take(token)
    reader.end_mark()
    return reader.blocks, reader.problems


def documented():
    """All blocks of README.md and docs/."""
    return [block for page in guides() for block in read(page)[0]]


def counts(blocks):
    """Returns how many are quick, how many slow, and how many are not run."""
    kinds = ["slow" if block.is_slow else "quick" if block.is_run else "not run" for block in blocks]
    return kinds.count("quick"), kinds.count("slow"), kinds.count("not run")


def summary(nodeids, blocks=None):
    """Returns the line that a run of the tests ends with: how many blocks it has run.

    Args:
        nodeids: what pytest calls the tests that have run.
        blocks: all blocks, by default those of the documentation.
    """
    blocks = documented() if blocks is None else blocks
    ran = {found[1] for found in map(_TESTED.search, nodeids) if found}
    quick, slow, _ = counts([block for block in blocks if block.place in ran])
    all_quick, all_slow, not_run = counts(blocks)
    return (
        f"code blocks of README.md and docs/: {quick + slow} run ({quick} of {all_quick} quick ones, {slow} of "
        f"{all_slow} slow ones, which `make test-all` runs), {not_run} of {len(blocks)} not run, their pages say why"
    )


def prints(block, printed):
    """Whether what a block printed is what its page says."""
    expected, printed = ("\n".join(map(str.rstrip, text.strip().splitlines())) for text in (block.output, printed))
    return re.fullmatch(re.escape(expected).replace(r"\.\.\.", ".*"), printed, re.DOTALL) is not None


class _Reader:
    """Takes the tokens of a page in their order."""

    def __init__(self, page):
        self.page = page
        self.blocks = []
        self.problems = []
        self._mark = None  # of the token before: its line, the mark, the reason
        self._above = None  # the block whose fence was the token before

    def take(self, token):
        if token.type == "fence":
            self._take_fence(token, token.map[0] + 2)
        elif token.type == "code_block" and not self.page.startswith("docs/reference/"):
            self._report(token.map[0] + 1, "code is indented, not fenced")
        elif token.type == "html_block":
            self.end_mark()
            self._above = None
            found = _MARK.fullmatch(token.content)
            if found:
                self._mark = (token.map[0] + 1, *found.groups())
        else:
            self.end_mark()
            self._above = None

    def end_mark(self):
        """Reports a mark that no fence followed."""
        if self._mark:
            self._report(self._mark[0], f"the mark {self._mark[1]!r} is not directly above a fence")
        self._mark = None

    def _take_fence(self, token, line):
        language = "".join(token.info.split()[:1])
        marked, self._mark = self._mark, None
        above, self._above = self._above, None
        if marked and not re.fullmatch(r":\s*\S.*", marked[2], re.DOTALL):
            self._report(marked[0], f"the mark {marked[1]!r} gives no reason")
        if language in DATA:
            if marked:
                self._report(marked[0], f"{language} is not run: it needs no mark")
            self._check_data(language, token.content, line)
            if language == "text" and above is not None:
                self.blocks[-1] = dataclasses.replace(above, output=token.content)
            return
        block = Block(self.page, line, language, token.content, marked[1] if marked else None)
        if language not in RUN + FOREIGN:
            wrong = f"the language {language!r} is unknown" if language else "the fence has no language"
            self._report(line - 1, wrong)
        elif language in FOREIGN and block.mark != "not run":
            self._report(line - 1, f"{language} cannot be run: say why above it, <!-- not run: why -->")
        elif block.installs and block.mark is None:
            self._report(line - 1, "it installs: it is slow, <!-- slow: why -->")
        self.blocks.append(block)
        self._above = block

    def _check_data(self, language, content, line):
        if language == "json":
            try:
                json.loads(content)
            except ValueError as error:
                self._report(line, f"it is no JSON: {error}")

    def _report(self, line, wrong):
        self.problems.append(f"{self.page}:{line}: {wrong}")
