"""Estimates of the time that the forms of a full convolution take in training on a CPU with oneDNN.

Each is linear in what a form computes and moves, so that one rule covers feature maps of one pixel and of a thousand.
The coefficients are nanoseconds on two x86 cores, fitted to 480 layers of 8 to 512 channels, forward and gradient:
kernels of 1x1, 3x3 and 5x5, strides of 1 and 2, 1x1 to 32x32 pixels, 2 to 16 experts and 32 or 128 examples. The form
with the lowest estimate took 2 % longer than the fastest one on the geometric mean. `python -m benchmarks.layers` times
the forms, `--grid=small` what is selected; docs/results/speed.md has the table.
"""

import math

from condconv_keras.layers.forms.geometry import FEW_PIXELS

# Of a batch of unknown size.
_USUAL_BATCH = 64


def fastest_in_training(spec, experts, batch, height, width):
    """The name of the form that takes the least time, forward and gradient, by estimate.

    Args:
        spec: `ConvSpec` of a full convolution of one group.
        experts: number of experts.
        batch: examples, or None when unknown.
        height, width: size of the input.
    """
    times = estimates(spec, experts, batch or _USUAL_BATCH, height, width)
    return min(times, key=times.get)


def estimates(spec, experts, batch, height, width):
    """Nanoseconds of each form that may be the fastest one, a dict by name; arguments as above."""
    pixels_in, pixels_out = height * width, spec.geometry.output_pixels(height, width)
    kernel = math.prod(spec.expert_shape)
    depth = kernel // spec.filters  # of a patch
    kernels, patches = batch * kernel, batch * pixels_out * depth
    multiply_adds = patches * spec.filters
    outputs = batch * pixels_out * spec.filters
    maps = batch * pixels_in * spec.channels + outputs
    if spec.geometry.taps == 1:
        return {
            "batched_matmul": 300e3 + 0.0144 * multiply_adds + (0.73 + 0.054 * experts) * kernels + 0.1 * maps,
            "mixture_matmul": 130e3 + experts * (0.0175 * multiply_adds + 2.6 * patches + 0.46 * kernel),
        }
    # What `dense` makes of the experts.
    matrices = experts * pixels_in * spec.channels * pixels_out * spec.filters
    gathering = 410e3 + (0.25 + 0.0226 * pixels_in) * patches if pixels_in <= FEW_PIXELS else 930e3 + 2.1 * patches
    return {
        "batched_matmul": gathering + 0.012 * multiply_adds + (0.61 + 0.05 * experts) * kernels,
        "dense": 330e3 + (1.67 + 0.0195 * batch) * matrices + 2.1 * experts * batch * pixels_in * spec.channels,
        "grouped_conv": 830e3 + 0.0212 * multiply_adds + (1.93 + 0.02 * experts) * kernels + 1.92 * maps,
        "mapped_conv": 254e3 * batch + 0.0177 * multiply_adds + (1.63 + 0.04 * experts) * kernels,
        "mixture_matmul": gathering + experts * (0.0175 * multiply_adds + 2.6 * patches + 0.46 * kernel),
        "mixture_conv": 730e3 + experts * (0.0203 * multiply_adds + 1.4 * outputs + 4.6 * kernel) + 0.63 * maps,
    }
