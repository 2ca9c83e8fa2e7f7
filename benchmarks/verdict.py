"""What `benchmarks.models` is run for: the targets, and which of them its rows reach."""

import collections

_AT_32 = (
    "condconv_mobilenet_v1",
    "condconv_mobilenet_v2",
    "condconv_resnet50",
    "condconv_efficientnet_lite0",
    "condconv_efficientnet_lite1",
    "condconv_efficientnet_lite2",
)

Target = collections.namedtuple("Target", "text work batch column most models")
TARGETS = (
    Target("inference, batch 32, to plain", "inference", 32, "ratio", 1.25, _AT_32),
    Target("SavedModel, batch 32, to plain", "saved_model", 32, "ratio", 1.25, _AT_32),
    Target("SavedModel, batch 1, to predict", "saved_model", 1, "to_predict", 1.05, None),
)


def verdict(rows):
    """Returns a line on the targets that rows are about, or none where they are about none.

    Args:
        rows: list of tuples with the fields `model`, `work`, `batch`, `precision` and those of the targets.
    """
    parts = []
    for target in TARGETS:
        asked = [row for row in rows if _is_asked(target, row)]
        missed = [row for row in asked if getattr(row, target.column) > target.most]
        if asked:
            names = ", ".join(f"{row.model.removeprefix('condconv_')} {_figures(target, row)}" for row in missed)
            reached = f"{len(asked) - len(missed)} of {len(asked)}" + (f" (missed by {names})" if missed else "")
            parts.append(f"{target.text} at most {target.most}: {reached}")
    return "verdict: " + "; ".join(parts) if parts else ""


def _is_asked(target, row):
    is_meant = target.models is None or row.model in target.models
    about = (row.work, row.batch, row.precision) == (target.work, target.batch, "float32")
    return is_meant and about and getattr(row, target.column) is not None


def _figures(target, row):
    """The ratio, and for one to the plain network that of the plain network with the mixing."""
    text = f"{getattr(row, target.column):.2f}"
    return f"{text}, floor {row.floor:.2f}" if target.column == "ratio" and row.floor is not None else text
