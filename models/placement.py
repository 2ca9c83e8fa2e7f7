"""Which layers of a network are CondConv layers."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class CondConvPlacement:
    """Where a CondConv twin differs from its plain network.

    Blocks are counted from 1, in the order of the forward pass, the stem not included.

    Attributes:
        num_experts: positive integer, experts of every CondConv layer (paper: n).
        start_block: first CondConv block; all later blocks are CondConv too. One past the last block: no block is.
        condconv_classifier: whether the classifier is a CondConv layer routed by the pooled features.

    Raises:
        ValueError: `num_experts` or `start_block` is not a positive integer.
    """

    num_experts: int
    start_block: int
    condconv_classifier: bool

    def __post_init__(self):
        for name in ("num_experts", "start_block"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")

    def check_blocks(self, num_blocks):
        """Raises ValueError unless `start_block` fits a network of `num_blocks` blocks."""
        if self.start_block > num_blocks + 1:
            raise ValueError(
                f"`start_block` must be between 1 and {num_blocks + 1} for {num_blocks} blocks. "
                f"Received: start_block={self.start_block}"
            )
