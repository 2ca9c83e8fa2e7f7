"""Which layers of a network stay out of 8 bits: those that cost its answers most, within a budget of bytes and time."""

import dataclasses

import numpy as np

from condconv_keras.tasks.error_figures import decibels
from condconv_keras.utils.lazy import LazyModule

tqdm = LazyModule("tqdm")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A part of a network that may stay out of 8 bits.

    Attributes:
        name: of the layer.
        tensors: names of the tensors that its operators put out.
        bytes: by how much the file grows.
        multiply_adds: of an image.
    """

    name: str
    tensors: tuple[str, ...]
    bytes: int
    multiply_adds: int


def _share(budget, candidates):
    """The part of a budget that candidates take."""
    return budget.share(sum(each.bytes for each in candidates), sum(each.multiply_adds for each in candidates))


def choose(candidates, answers, reference, target_db, budget):
    """Chooses the candidates that stay out of 8 bits.

    Each one's share of the noise is what its 8 bits alone do to the answers. They are taken in the order of noise by
    share of the budget, as long as the answers are noisier than the target and the budget holds them.

    Args:
        candidates: list of `Candidate`.
        answers: function of candidates that stay out of 8 bits that returns the answers for some images, a list of
            float arrays, one for each output.
        reference: the answers in float32.
        target_db: signal-to-noise ratio in dB that is enough.
        budget: `Budget`.

    Returns:
        The chosen candidates, a list in the order of `candidates`.
    """

    def noise(kept, reference=reference):
        return 10 ** (-signal_to_noise(reference, answers(kept)) / 10)

    enough = 10 ** (-target_db / 10)
    if not candidates or noise([]) <= enough:
        return []
    # Beside the answers of the others that stay out of 8 bits: they have noise of their own.
    whole = answers(candidates)
    alone = {}
    for each in tqdm.tqdm(candidates, "what 8 bits cost", unit="layer", disable=None):  # on a terminal
        alone[each] = noise([other for other in candidates if other is not each], whole)
    chosen, left = [], sum(alone.values()) + noise(candidates)
    for each in sorted(candidates, key=lambda each: _share(budget, [each]) / alone[each]):
        if _share(budget, [*chosen, each]) > 1:
            continue
        chosen.append(each)
        left -= alone[each]
        # Noises add up but for chance: far from the target there is no need to look.
        if left <= 2 * enough and noise(chosen) <= enough:
            break
    return [each for each in candidates if each in chosen]


def signal_to_noise(reference, received):
    """The lowest signal-to-noise ratio of the outputs, in dB; the mean of each image's values is no signal.

    Args:
        reference, received: lists of float arrays [images, ..., values], one for each output.
    """
    return min(_decibels(*pair) for pair in zip(reference, received, strict=True))


def _decibels(reference, received):
    # The constant of an image's logits means nothing; nor does what all anchors of a detector have in common.
    axis = -1 if reference.ndim == 2 else tuple(range(1, reference.ndim - 1))
    signal = reference - reference.mean(axis=axis, keepdims=True)
    error = received - reference
    if reference.ndim == 2:
        error = error - error.mean(axis=axis, keepdims=True)
    return decibels(np.square(signal).sum(dtype=np.float64), np.square(error).sum(dtype=np.float64))
