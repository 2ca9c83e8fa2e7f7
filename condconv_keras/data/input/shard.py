"""Which part of every global batch one input pipeline of a distributed run prepares."""

from __future__ import annotations

import dataclasses

from condconv_keras.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class InputShard:
    """One input pipeline (of one worker) of `count`, which feeds `replicas` devices.

    Attributes:
        index: number of the pipeline, from 0.
        count: pipelines of the run.
        replicas: devices that share the batches of this pipeline.

    Raises:
        ValueError: if a field is out of range.
    """

    index: int = 0
    count: int = 1
    replicas: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.index < self.count and self.replicas >= 1):
            raise ValueError(f"expected 0 <= index < count and replicas >= 1. Received: {self}")

    def batch_size(self, global_batch_size: int) -> int:
        """Returns the examples of one device's batch; raises a `UserError` if the global batch cannot be divided."""
        devices = self.count * self.replicas
        if global_batch_size % devices:
            raise UserError(
                f"expected a batch size (`batch_size`) that {devices} devices can share equally, "
                f"received: {global_batch_size}"
            )
        return global_batch_size // devices
