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
print(tuned, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_freed_memory_is_kept_unless_the_user_decides():
    tuned, kept = processes.run("-c", PROGRAM).stdout.split()
    assert tuned == "True"
    left, returned = processes.run("-c", PROGRAM, MALLOC_ARENA_MAX="8").stdout.split()
    assert left == "False"
    assert int(kept) < int(returned) / 10
