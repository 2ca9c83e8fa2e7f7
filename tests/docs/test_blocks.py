"""A stranger's test: the blocks of code of README.md and docs/ run as they stand.

A test runs one block, so that a failure is one of a line of a page. Those of a page run in its order in one folder.
A page that installs something has a second folder for all of its blocks, with an environment that nothing was
installed in: what a reader has who got the project a minute ago.
"""

import time

import pytest

from tests.docs.blocks import BLOCKS_PER_NOT_RUN, counts, documented, prints, read
from tests.docs.pages import guides
from tests.docs.reader import QUICK_SECONDS, Place, end_of


def cases():
    """Blocks, and whether they run in an environment of their page's own."""
    for page in guides():
        blocks = [block for block in read(page)[0] if block.is_run]
        installs = any(block.installs for block in blocks)
        for block in blocks:
            if not block.installs and not (installs and block.is_slow):
                yield pytest.param(block, False, id=block.place, marks=[pytest.mark.slow] * block.is_slow)
        for block in blocks if installs else ():
            yield pytest.param(block, True, id=f"{block.place} installed", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A function of a page and of whether it has its own environment that returns where its blocks run.

    The place of the page before is removed: an environment has gigabytes.
    """
    made = {}

    def get(*key):
        if key not in made:
            remove()
            made[key] = Place(tmp_path_factory.mktemp("page") / "project", own_environment=key[1])
        return made[key]

    def remove():
        while made:
            made.popitem()[1].remove()

    yield get
    remove()


@pytest.mark.parametrize(("block", "own_environment"), cases())
def test_a_block_of_the_documentation_runs(block, own_environment, place):
    prepared = place(block.page, own_environment)
    start = time.monotonic()
    code, printed, errors = prepared.run(block)
    seconds = time.monotonic() - start
    if code:
        pytest.fail(f"{block.place}: exit code {code}\n{end_of(printed)}\n{end_of(errors)}", pytrace=False)
    if block.output is not None and not prints(block, printed):
        pytest.fail(f"{block.place}: expected\n{block.output}\nprinted\n{end_of(printed)}", pytrace=False)
    if not (block.is_slow or own_environment) and seconds > QUICK_SECONDS:
        pytest.fail(f"{block.place}: took {seconds:.0f} s; mark it, <!-- slow: why -->", pytrace=False)


def test_readme_is_followed_by_one_who_has_nothing_installed():
    blocks = [block for block, own_environment in (case.values for case in cases()) if own_environment]
    code = [block.code for block in blocks if block.page == "README.md"]
    assert code[0].startswith("pip install ") and any(each.startswith("make demo") for each in code)
    assert len(code) == sum(block.is_run for block in read("README.md")[0])


@pytest.mark.parametrize("page", guides())
def test_every_block_says_what_it_is_and_why_it_is_not_run(page):
    assert read(page)[1] == []


def test_at_most_one_block_in_five_is_not_run():
    blocks = documented()
    quick, slow, not_run = counts(blocks)
    places = [block.place for block in blocks if not block.is_run]
    assert not_run * BLOCKS_PER_NOT_RUN <= quick + slow + not_run, "\n".join(places)
