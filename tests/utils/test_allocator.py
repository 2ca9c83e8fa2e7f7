import sys

import pytest

from tests import processes

# Frees 64 buffers of a size that glibc maps each for itself by default, and counts the pages that are faulted in anew.
PROGRAM = """
import resource
from condconv_keras.utils import allocator
tuned = allocator.tune()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(64):
        bytearray(2**26)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
kept = faults()
with allocator.untuned():
    returned = faults()
faults()
print(tuned, kept, returned, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_freed_memory_is_kept_unless_the_user_decides():
    tuned, kept, returned, kept_again = _run()
    assert tuned == "True"
    assert max(kept, kept_again) < returned / 10
    left, *returned = _run(MALLOC_ARENA_MAX="8")
    assert left == "False"
    assert kept < min(returned) / 10


def _run(**environment):
    """Whether glibc keeps freed memory, and the faults before, while and after `untuned`."""
    tuned, *faults = processes.run("-c", PROGRAM, **environment).stdout.split()
    return tuned, *map(int, faults)
