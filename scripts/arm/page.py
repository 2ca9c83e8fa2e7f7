"""The log of `make verify-arm`, a page of the documentation."""

import dataclasses
import datetime
import os
import platform
import textwrap

from condconv_keras.export.formats import TFLITE
from condconv_keras.utils.versions import versions
from scripts.arm.comparison import Comparison
from scripts.arm.machine import CORTEX_A53, CORTEX_A76, qemu_version
from scripts.arm.models import MOST_FLOAT_PHOTOGRAPHS, SUBJECTS


@dataclasses.dataclass(frozen=True)
class Row:
    """A file on a processor.

    Attributes:
        model, mode, kernels, processor, megabytes: what it is, and where it ran.
        float_layers: how many layers were kept out of 8 bits.
        comparison: with x86.
        seconds: the emulated ones of an image.
        dot_products: the SDOTs of its code, or None.
    """

    model: str
    mode: str
    kernels: str
    processor: str
    megabytes: float
    float_layers: int
    comparison: Comparison
    seconds: float
    dot_products: int | None = None

    @property
    def name(self):
        """What messages call it."""
        return f"{self.model} {self.mode} {self.kernels} on {self.processor}"


_HEADS = (
    *("model", "mode", "kernels", "MB", "layers kept", "images", "same class", "largest difference", "relative error"),
    *("SNR, dB", "emulated s an image"),
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
        str(row.float_layers),
        str(found.images),
        str(found.same_class),
        f"{found.largest:.1e}",
        f"{found.relative_error:.1e}",
        f"{found.snr_db:.1f}",
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

{_filled(_opening())}

## Setup

{_setup(contents)}

The models:

{_models(rows)}

## What is compared

{_filled(_compared())}

- **Layers kept**: how many the exporter keeps out of 8 bits in a trained model
  ([Export and phones](../mobile.md)).
- **Images**: the first three models answer the 16 images of the exporter's check. The others answer the twenty
  photographs of `make pretrained` in the modes `dynamic` and `int8`, and the first {MOST_FLOAT_PHOTOGRAPHS} of them in
  `none` and `float16`, which take an emulator long.
- **Same class**: the images with the same most probable class on both processors, for a detector with the same class of
  the best detection.
- **Largest difference**: it concerns the probabilities of a classifier and the outputs of a detector's network, before
  suppression.
- **Relative error and SNR**: they concern the centered log-probabilities of a classifier and the outputs of a
  detector's network. 200 dB stands for equal numbers. Rounding of float32 probabilities counts as equal.
- A detector's detections on ARM are what suppression makes of the outputs of its network there, in every image.

## Cortex-A76

The processor has the dot product of 8-bit numbers, which newer phones have, too.

{table(a76)}

{_summary(a76)}

## Cortex-A53

A processor without the dot product: XNNPACK takes other kernels. The three small models ran on it.

{table(a53)}

{_summary(a53)}

## Which kernels ran

QEMU lists the instructions that it translates. The table counts the dot products (SDOT) among them for the files of
`digits`: where there are some, XNNPACK's kernels with dot products ran.

{_kernels(rows)}
"""


def _opening():
    return f"""\
`make verify-arm` wrote this page on {datetime.datetime.now(datetime.UTC).date().isoformat()}. It runs our `.tflite`
files on a 64-bit ARM processor (aarch64) that QEMU emulates, and compares the answers with those of the same files and
the same inputs on x86, in LiteRT with XNNPACK and one thread on both. **No phone was used, and the times are an
emulator's:** neither they nor their ratios say anything of a phone's. The page shows that LiteRT for ARM loads and runs
the files, and how near its answers come to those on x86."""


def _compared():
    return f"""\
The script writes the files as `python -m export` does, without the exporter's check against Keras: whether a file
answers as its Keras model does is [another question](export/check.md). The reference is the same file on x86. The
figures and limits are those of the [exporter's check](../mobile.md#how-the-exporter-checks-a-file), the stricter ones
for an untrained model: {_limits()}. A classifier's class may be another one only where noise at the limit explains it.
Every file on this page passes."""


def _filled(text, indent=""):
    """A paragraph, or with an indent an item of a list, in lines of 120 characters."""
    return textwrap.fill(
        " ".join(text.split()), 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _setup(contents):
    installed = versions(("tensorflow", "keras", "ai-edge-litert", "numpy"))
    python = next(name.split("_")[1] for name in contents if name.startswith("python3"))
    wheels = ", ".join(" ".join(name.split("-")[:2]) for name in contents if name.endswith(("aarch64", "-any")))
    items = (
        f"Host: {os.cpu_count()} {platform.machine()} cores ({_processor()}), no GPU; "
        + ", ".join(f"{name} {version}" for name, version in installed.items()),
        f"Emulator: {qemu_version()}, user mode. Its arithmetic is taken for the processor's",
        f"Emulated machine: Debian's Python {python} for arm64, and from the wheels for aarch64 {wheels}",
        "XNNPACK chooses its kernels by the processor's part and features. The machine's `/proc/cpuinfo` has "
        + " or ".join(f"those of {each.name} (part {each.part}: {each.features})" for each in (CORTEX_A76, CORTEX_A53)),
    )
    return "\n".join(_filled(f"- {item}.", "  ") for item in items)


def _processor():
    """The name of the host's processor."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else "unknown"


def _models(rows):
    return "\n".join(
        _filled(f"- `{name}`: {SUBJECTS[name][0]}.", "  ") for name in dict.fromkeys(r.model for r in rows)
    )


def _limits():
    limits = []
    for mode, file_format in TFLITE.items():
        error = file_format.max_relative_error
        limit = (
            f"at least {file_format.min_snr_db:.0f} dB" if error is None else f"a relative error of at most {error:.0e}"
        )
        limits.append(f"{limit} for `{mode}`")
    return ", ".join(limits)


def _summary(rows):
    """What the rows say of 8-bit kernels and of classes, a paragraph."""
    sentences = []
    for mode in ("dynamic", "int8"):
        found = [row.comparison for row in rows if row.mode == mode]
        if found:
            ratios = [each.snr_db for each in found]
            sentences.append(
                f"In `{mode}` files the kernels of both processors leave {min(ratios):.1f} to {max(ratios):.1f} dB, a "
                f"relative error of up to {max(each.relative_error for each in found):.1e}."
            )
    for row in rows:
        found = row.comparison
        if found.same_class < found.images:
            sentences.append(
                f"The class is another one in {found.images - found.same_class} of {found.images} answers of "
                f"`{row.model}` in `{row.mode}` ({row.kernels}): there x86 has its own class at most "
                f"{100 * found.margin:.2g}% above the other."
            )
    return _filled(" ".join(sentences))


def _kernels(rows):
    traced = [row for row in rows if row.dot_products is not None]
    lines = (f"| {row.processor} | `{row.mode}` | {row.kernels} | {row.dot_products} |" for row in traced)
    return "\n".join(["| processor | mode | kernels | SDOT instructions |", "|---|---|---|---|", *lines])
