"""The log of `make verify-arm`, a page of the documentation."""

import dataclasses
import datetime
import os
import platform

from condconv_keras.export.formats import TFLITE
from condconv_keras.utils.versions import versions
from scripts.arm.comparison import Comparison
from scripts.arm.machine import CORTEX_A53, CORTEX_A76, qemu_version
from scripts.arm.models import SUBJECTS


@dataclasses.dataclass(frozen=True)
class Row:
    """A file on a processor: its `Comparison`, the emulated seconds of an image, and the SDOTs of its code or None."""

    model: str
    mode: str
    kernels: str
    processor: str
    megabytes: float
    comparison: Comparison
    seconds: float
    dot_products: int | None = None

    @property
    def name(self):
        """What messages call it."""
        return f"{self.model} {self.mode} {self.kernels} on {self.processor}"


_HEADS = (
    *("model", "mode", "kernels", "MB", "images", "same class", "largest difference", "relative error"),
    *("SNR, dB", "largest, in steps", "numbers that differ", "emulated s an image"),
)


def table(rows):
    """Returns rows as a Markdown table."""
    lines = [f"| {' | '.join(_HEADS)} |", "|---" * len(_HEADS) + "|"]
    return "\n".join(lines + [f"| {' | '.join(_cells(row))} |" for row in rows])


def _cells(row):
    found = row.comparison
    return (
        f"`{row.model}`",
        f"`{row.mode}`",
        row.kernels,
        f"{row.megabytes:.1f}",
        str(found.images),
        str(found.same_class),
        f"{found.largest:.1e}",
        f"{found.relative_error:.1e}",
        f"{found.snr_db:.1f}",
        "" if found.steps is None else str(found.steps),
        "" if found.changed is None else f"{100 * found.changed:.1f}%",
        f"{row.seconds:.2f}",
    )


def markdown(rows, contents):
    """Returns the page.

    Args:
        rows: list of `Row`.
        contents: names of what was unpacked into the emulated machine.
    """
    a76, a53 = ([row for row in rows if row.processor == each.name] for each in (CORTEX_A76, CORTEX_A53))
    return f"""\
# `.tflite` files on ARM

`make verify-arm` wrote this page on {datetime.datetime.now(datetime.UTC).date().isoformat()}. It runs our `.tflite`
files on an ARM processor, a 64-bit one (aarch64) that QEMU emulates, and compares the answers with those of the same
files and the same inputs on x86, in LiteRT with XNNPACK and one thread on both. **No phone was used, and the times are
an emulator's:** they say nothing of a phone's, nor do their ratios. What the page shows is that LiteRT for ARM loads
and runs the files, and how near its kernels come to those of x86.

## Setup

{_setup(contents)}

The models:

{_models(rows)}

## What is compared

The script writes the files as `python -m export` does, but does not run the exporter's check against Keras: whether a
file answers as its Keras model does is [another question](export/check.md). Here the reference is the file itself on
x86. The figures and limits are those of the [exporter's check](../mobile.md#how-the-exporter-checks-a-file), the
stricter ones for an untrained model: {_limits()}. Every file on this page is within them.

- **Images**: the first two models answer the 16 images of the exporter's check. The others answer the twenty
  photographs of `make pretrained` in the modes `dynamic` and `int8`, and the first four of them in `none` and
  `float16`, which take an emulator long.
- **Same class**: the images with the same most probable class on both processors, of a detector with the same class of
  the best detection.
- **Largest difference**: of a probability, of a detector of what its network returns before suppression.
- **Relative error and SNR**: of a classifier's centered log-probabilities, of a detector's network outputs. 200 dB
  stands for equal numbers. A difference of the float32 rounding of a probability counts as none.
- **Steps**: what an int8 file's network returns is int8. The columns show by how many of its steps the numbers differ
  at most, and which part of them differs at all.
- The detections of a detector on ARM are what suppression makes of its own network's outputs there, in every image.

## Cortex-A76

The processor has the dot product of 8-bit numbers, as phones have since about 2018.

{table(a76)}

{_eight_bits(a76)}

## Cortex-A53

A processor without the dot product, as in older and in cheap phones: XNNPACK takes other kernels. The two small models
ran on it.

{table(a53)}

{_eight_bits(a53)}

## Which kernels ran

QEMU lists the instructions that it translates. The table counts the dot products (SDOT) among them for the files of
`digits`: where there are some, XNNPACK's kernels with dot products ran.

{_kernels(rows)}
"""


def _setup(contents):
    installed = versions(("tensorflow", "keras", "ai-edge-litert", "numpy"))
    python = next(name.split("_")[1] for name in contents if name.startswith("python3"))
    wheels = ", ".join(" ".join(name.split("-")[:2]) for name in contents if name.endswith(("aarch64", "-any")))
    return f"""\
- Host: {os.cpu_count()} {platform.machine()} cores ({_processor()}), no GPU. \
{", ".join(f"{name} {version}" for name, version in installed.items())}.
- Emulator: {qemu_version()}, user mode. Its arithmetic is taken for the processor's.
- Emulated machine: Debian's Python {python} for arm64 and, from the wheels for aarch64, {wheels}.
- XNNPACK chooses its kernels by the processor's part and features. The machine's `/proc/cpuinfo` gives those of
  {_described(CORTEX_A76)} and of
  {_described(CORTEX_A53)}."""


def _described(processor):
    return f"{processor.name} (part {processor.part}, `{processor.features}`)"


def _processor():
    """The name of the host's processor."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else "unknown"


def _models(rows):
    return "\n".join(f"- `{name}`: {SUBJECTS[name][0]};" for name in dict.fromkeys(row.model for row in rows))


def _limits():
    limits = []
    for mode, file_format in TFLITE.items():
        error = file_format.max_relative_error
        limit = f"SNR of {file_format.min_snr_db:.0f} dB" if error is None else f"relative error of {error:.0e}"
        limits.append(f"a {limit} for `{mode}`")
    return ", ".join(limits)


def _eight_bits(rows):
    """What the rows say of the int8 files, a sentence."""
    found = [row.comparison for row in rows if row.comparison.steps is not None]
    if not found:
        return ""
    changed = [100 * each.changed for each in found]
    ratios = [each.snr_db for each in found]
    return (
        f"int8 kernels differ between processors: up to {max(each.steps for each in found)} steps, in "
        f"{min(changed):.1f}% to {max(changed):.1f}% of the numbers, which leaves {min(ratios):.1f} to "
        f"{max(ratios):.1f} dB. {sum(each.same_class for each in found)} of "
        f"{sum(each.images for each in found)} answers have the same class."
    )


def _kernels(rows):
    traced = [row for row in rows if row.dot_products is not None]
    lines = (f"| {row.processor} | `{row.mode}` | {row.kernels} | {row.dot_products} |" for row in traced)
    return "\n".join(["| processor | mode | kernels | SDOT instructions |", "|---|---|---|---|", *lines])
