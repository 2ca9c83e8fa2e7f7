"""What the experts of a trained network learn: routing statistics of a split, and their figures.

`condconv_keras.routing_statistics` gathers them; an `Analysis` of them is written by `write_analysis`.
"""

from typing import TYPE_CHECKING

from condconv_keras.utils.lazy import attach

_HOME = {
    "Analysis": "condconv_keras.analysis.output",
    "write_analysis": "condconv_keras.analysis.output",
}

__all__ = ["Analysis", "write_analysis"]

if TYPE_CHECKING:
    from condconv_keras.analysis.output import Analysis, write_analysis
else:
    __getattr__, __dir__ = attach(__name__, _HOME)
