"""What an export may spend on answers that are nearer to Keras's."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Budget:
    """What keeping layers of a `.tflite` file out of 8 bits may cost.

    Multiply-adds stand for time: they are the same on every machine.

    Attributes:
        bytes: by how much the file may grow; a fraction of its size, or a number.
        multiply_adds: of how many of an image those layers may be; a fraction of those of all layers that could be kept
            out, or a number.
    """

    bytes: float = 0.25
    multiply_adds: float = 0.5

    def share(self, spent_bytes: float, spent_multiply_adds: float) -> float:
        """The larger one of the parts that are taken, 1 for a whole one; infinite where there is nothing to take."""
        pairs = ((spent_bytes, self.bytes), (spent_multiply_adds, self.multiply_adds))
        return max(0.0 if not spent else spent / whole if whole else math.inf for spent, whole in pairs)
