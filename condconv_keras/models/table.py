"""Size and cost of the models, counted as they are built here, next to the published figures."""

import csv
import dataclasses
import io

from condconv_keras.models.building import build_model
from condconv_keras.models.registry import model_entry
from condconv_keras.utils.lazy import LazyModule, keras

profiling = LazyModule("condconv_keras.profiling")

# The fields of `Row` for published accuracies: each is that of a `PaperFigures.metric`.
_ACCURACIES = ("paper_top_1", "paper_map")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One model at one width. Parameters are exact; multiply-adds are in millions, rounded to 0.01.

    Attributes:
        model: registry name.
        width: width multiplier.
        input: height x width x channels.
        parameters: trainable scalars, as papers and timm count them: gamma and beta of batch normalization are in, its
            moving statistics are not.
        batch_norm: the part of them that is gamma and beta.
        multiply_adds: `convolution`, `mixing`, `routing` and `elementwise` together.
        convolution, mixing, routing: see `condconv_keras.profiling`.
        elementwise: as there, where the published figure of the family counts it, else 0.
        paper_multiply_adds: the published figure, in millions, or None.
        difference: of `multiply_adds` to it, in percent, or None.
        paper_top_1: published ImageNet top-1 accuracy in percent, or None.
        paper_map: published mean average precision of a detector on COCO's minival in percent, or None.
    """

    model: str
    width: float
    input: str
    parameters: int
    batch_norm: int
    multiply_adds: float
    convolution: float
    mixing: float
    routing: float
    elementwise: float
    paper_multiply_adds: float | None
    difference: float | None
    paper_top_1: float | None
    paper_map: float | None

    def cells(self):
        """The values as text, empty where there is none."""
        formats = {"width": "g", "difference": "+.2f", "paper_multiply_adds": "g"}
        formats |= dict.fromkeys(("paper_top_1", "paper_map"), ".1f")
        formats |= dict.fromkeys(("multiply_adds", "convolution", "mixing", "routing", "elementwise"), ".2f")
        values = dataclasses.asdict(self)
        return ["" if value is None else format(value, formats.get(name, "")) for name, value in values.items()]


COLUMNS = (
    "model",
    "width",
    "input",
    "parameters",
    "of which BN",
    "multiply-adds",
    "convolution",
    "mixing",
    "routing",
    "elementwise",
    "paper multiply-adds",
    "difference %",
    "paper top-1 %",
    "paper mAP %",
)


def measure(name):
    """Builds and counts a registered model.

    Returns:
        Its `Row`s: one for each width with published figures, one in all without.
    """
    entry = model_entry(name)
    return [_row(entry, figures) for figures in entry.paper or (None,)]


def _row(entry, figures):
    """The row of a model at the width of its `PaperFigures`, or at its registered one without figures."""
    arguments = (
        {} if figures is None or figures.width_multiplier is None else {"width_multiplier": figures.width_multiplier}
    )
    model = build_model(entry.name, **arguments)
    counts = profiling.profile(model)
    shape = "x".join(str(size) for size in model.input.shape[1:])
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    batch_norm = sum(weight.shape[0] for layer in norms for weight in layer.trainable_weights)
    keras.backend.clear_session()
    elementwise = counts.elementwise if entry.counts_elementwise else 0
    millions = (counts.multiply_adds + elementwise) / 1e6
    published = {} if figures is None else {f"paper_{figures.metric}": figures.accuracy}
    return Row(
        model=entry.name,
        width={"width_multiplier": 1.0, **entry.arguments, **arguments}["width_multiplier"],
        input=shape,
        parameters=counts.trainable_parameters,
        batch_norm=batch_norm,
        multiply_adds=millions,
        convolution=counts.convolution / 1e6,
        mixing=counts.mixing / 1e6,
        routing=counts.routing / 1e6,
        elementwise=elementwise / 1e6,
        paper_multiply_adds=figures and figures.multiply_adds,
        difference=figures and 100 * millions / figures.multiply_adds - 100,
        **{**dict.fromkeys(_ACCURACIES), **published},
    )


def as_table(rows):
    """Aligned columns: names to the left, figures to the right."""
    lines = [list(COLUMNS), *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def as_csv(rows):
    """The rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row.cells() for row in rows)
    return text.getvalue()
