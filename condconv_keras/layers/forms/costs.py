"""Estimates of the time that the forms of a full convolution take in training on an x86 CPU with oneDNN.

Each is linear in what a form computes and moves, so that one rule covers feature maps of one pixel and of a thousand.
The coefficients are about those that `python -m benchmarks.form_costs` fits to docs/results/speed/form_costs.csv, times
on two cores of 560 layers: 8 to 512 channels, kernels of 1x1, 3x3 and 5x5, strides of 1 and 2, 1x1 to 32x32 pixels, 2
to 16 experts, 32 and 128 images. It prints, too, how far the form of the lowest estimate is from the fastest one.
"""

import math

from condconv_keras.layers.forms.geometry import FEW_PIXELS

# Of a batch of unknown size.
_USUAL_BATCH = 64
_GATHERING = {"call": 410e3, "slices": 520e3, "patches": 0.25, "products": 0.0226, "sliced_patches": 1.85}
# For each form, by what `amounts` counts. Without a gradient, or of another machine, they would be others.
_NANOSECONDS = {
    "batched_matmul": {**_GATHERING, "multiply_adds": 0.012, "kernels": 0.61, "mixed": 0.05},
    "dense": {"call": 330e3, "matrices": 1.67, "multiply_adds": 0.0195, "scaled": 2.1},
    "grouped_conv": {"call": 830e3, "multiply_adds": 0.0212, "kernels": 1.93, "mixed": 0.02, "maps": 1.92},
    "mapped_conv": {"images": 254e3, "multiply_adds": 0.0177, "kernels": 1.63, "mixed": 0.04},
    "mixture_conv": {"call": 730e3, "multiply_adds": 0.0203, "outputs": 1.4, "bank": 4.6, "maps": 0.63},
    "mixture_matmul": {**_GATHERING, "multiply_adds": 0.0175, "scaled": 2.6, "bank": 0.46},
}
_NANOSECONDS_1X1 = {
    "batched_matmul": {"call": 300e3, "multiply_adds": 0.0144, "kernels": 0.73, "mixed": 0.054, "maps": 0.1},
    "mixture_matmul": {"call": 130e3, "multiply_adds": 0.0175, "scaled": 2.6, "bank": 0.46},
}


def fastest_in_training(spec, experts, batch, height, width):
    """The name of the form that takes the least time, forward and gradient, by estimate.

    Args:
        spec: `ConvSpec` of a full convolution of one group.
        experts: number of experts.
        batch: images, or None when unknown.
        height, width: size of the input.
    """
    times = estimates(spec, experts, batch or _USUAL_BATCH, height, width)
    return min(times, key=times.get)


def estimates(spec, experts, batch, height, width):
    """The nanoseconds of each form that may be the fastest one, a dict by name; arguments as above."""
    nanoseconds = _NANOSECONDS_1X1 if spec.geometry.taps == 1 else _NANOSECONDS
    counted = amounts(spec, experts, batch, height, width)
    return {
        form: sum(counted[form][name] * value for name, value in coefficients.items())
        for form, coefficients in nanoseconds.items()
    }


def amounts(spec, experts, batch, height, width):
    """What each form computes and moves: for each name a dict of counts of operations and of numbers; see `estimates`.

    `kernels` are those of the images, `mixed` what is added up for them, `bank` the experts; `maps` the input and the
    output, `outputs` and `multiply_adds` those of all experts where the form has these; `patches` what is gathered, in
    a product for few pixels, in slices for more.
    """
    pixels_in, pixels_out = height * width, spec.geometry.output_pixels(height, width)
    kernel = math.prod(spec.expert_shape)
    depth = kernel // spec.filters
    patches = batch * pixels_out * depth
    multiply_adds, outputs = patches * spec.filters, batch * pixels_out * spec.filters
    maps = batch * pixels_in * spec.channels + outputs
    combined = {
        "call": 1,
        "images": batch,
        "multiply_adds": multiply_adds,
        "kernels": batch * kernel,
        "mixed": experts * batch * kernel,
        "maps": maps,
    }
    few = pixels_in <= FEW_PIXELS
    gathered = {
        "patches": patches,
        "products": patches * pixels_in * few,
        "slices": int(not few),
        "sliced_patches": patches * (not few),
    }
    mixture = {"call": 1, "multiply_adds": experts * multiply_adds, "bank": experts * kernel, "maps": maps}
    # What `dense` makes of the experts.
    matrices = experts * pixels_in * spec.channels * pixels_out * spec.filters
    return {
        "batched_matmul": {**combined, **gathered},
        "dense": {
            "call": 1,
            "matrices": matrices,
            "multiply_adds": batch * matrices,
            "scaled": experts * batch * pixels_in * spec.channels,
        },
        "grouped_conv": combined,
        "mapped_conv": combined,
        "mixture_conv": {**mixture, "outputs": experts * outputs},
        "mixture_matmul": {**mixture, **gathered, "scaled": experts * patches},
    }
