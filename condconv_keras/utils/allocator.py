"""Memory allocation of the C library, set before TensorFlow starts.

glibc gives every large buffer back to the kernel and faults it in again at the next step. Keeping the memory made
training steps of MobileNetV1 on a CPU 1.3 times (plain) and 1.5 times (CondConv) faster.
"""

import ctypes
import os
import sys

# malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER = -1
_GROWTH_BYTES = 2**26


def tune():
    """Lets glibc keep freed memory; elsewhere, and where the user has set a `MALLOC_*_` variable, does nothing.

    Returns:
        Whether the settings were made.

    Source: mallopt(3).
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _GROWTH_BYTES))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
