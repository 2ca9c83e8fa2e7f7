"""docs/models.md: one card per registered model."""

import itertools

from condconv_keras.models.registry import model_entry, published_models, starting_model

_HEAD = """# Models

This page has a card for every model of the zoo: its cost, the paper's figures, its published weights and the command
that trains it. `create_model(NAME)` builds a model; `list_models` finds names:

```python
from condconv_keras import list_models

print("\\n".join(list_models("condconv_*")))
```

`python -m models` counts parameters and multiply-adds on the model as it is built here, for one image of the given
size. Parameters include batch normalization's gamma and beta, but not its moving statistics. The paper's figures are
from the CondConv paper or its authors' release, at n = 8 experts unless the card says otherwise. Accuracies are as
their publishers report them: ImageNet and COCO are not available where this project is developed, so we have measured
none. mAP is the mean average precision on 8,000 images of COCO 2014; the paper has detectors at several widths (width
multipliers).

Evaluation resizes an image so that its center crop of the given fraction has the input's size (1 takes the whole
image), and scales it to `(x - mean) / std` for pixels x in 0..255. A file of published weights may ask for another
scaling, padding or input size; an import sets them and stores them in the file that it writes.

`python -m models --markdown` writes this page; edit the families (`condconv_keras/models/families/`), not the page.
"""


def page(rows):
    """Returns the page of the models.

    Args:
        rows: `condconv_keras.models.table.Row`s, those of a model one after the other.
    """
    index = [
        "| model | parameters | multiply-adds | paper's multiply-adds | paper's accuracy |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (f"{row.parameters:,}", f"{row.multiply_adds:.1f} M", _millions(row), _accuracy(row))
        index.append(f"| [`{row.model}`](#{row.model}){_width(row, ', width ')} | {' | '.join(cells)} |")
    models = itertools.groupby(rows, key=lambda row: row.model)
    return "\n".join([_HEAD, "\n".join(index), *(_card(model_entry(name), list(of_name)) for name, of_name in models)])


def _card(entry, rows):
    lines = [
        "",
        f"## {entry.name}",
        "",
        f"{entry.summary}. Reference: <{entry.reference}>.",
        "",
        *(line for row in rows for line in _counts(row)),
        f"- Input: {rows[0].input}, crop fraction {entry.crop_fraction}, {entry.interpolation}, mean "
        f"{entry.input_mean:g}, std {entry.input_std:g}",
    ]
    if entry.placement:
        lines.append(f"- CondConv: {_placement(entry)}")
    lines += [f"- Weights: {_weights(weights, i, entry.published)}" for i, weights in enumerate(entry.published)]
    if not entry.published:
        lines.append(f"- Weights: none are published{_start(entry)}")
    return "\n".join([*lines, f"- Recipe: `{_command(entry)}`"])


def _counts(row):
    """The lines of the card that a row has, of a model with several of them with their width."""
    parts = {name: getattr(row, name) for name in ("convolution", "mixing", "routing", "elementwise")}
    cost = f"{row.multiply_adds:.2f} M ({', '.join(f'{name} {value:.2f}' for name, value in parts.items() if value)})"
    figures = "no figures"
    if row.difference is not None:
        figures = f"{row.paper_multiply_adds:g} M multiply-adds, {_accuracy(row)}; our count differs by "
        figures += f"{row.difference:+.2f} %"
    width = _width(row, " at width ")
    return (
        f"- Parameters{width}: {row.parameters:,}, of which batch normalization {row.batch_norm:,}",
        f"- Multiply-adds{width}: {cost}",
        f"- Paper{width}: {figures}",
    )


def _start(entry):
    """Whose published weights training can start a model from that has none of its own."""
    source = starting_model(entry.name)
    return f"; `train.py --weights=imagenet` starts it from those of `{source}`" if source in published_models() else ""


def _command(entry):
    start = "" if entry.backbone is None else " --weights=imagenet"
    return (
        f"python train.py --model={entry.name} --dataset={entry.dataset}{start} --data_dir=DIR --recipe={entry.recipe} "
        f"--model_dir=runs/{entry.name}"
    )


def _placement(entry):
    placement = entry.placement
    start = f"stage {placement.start_stage}" if placement.start_block is None else f"block {placement.start_block}"
    parts = [f"{placement.num_experts} experts from {start} on"]
    for field, words in (
        ("head", "head convolution"),
        ("shortcut", "projection shortcuts"),
        ("classifier", "classifier"),
        ("predictors", "predictors"),
    ):
        if getattr(placement, f"condconv_{field}"):
            parts.append(words)
    return ", ".join([*parts, *entry.always_conditional])


def _weights(weights, place, published):
    """What is known of the file at a place of a model's published files, and how one comes by it."""
    accuracy = "accuracy not known"
    if weights.top_1 is not None:
        size = f" at {weights.top_1_input_size}" if weights.top_1_input_size else ""
        accuracy = f"{weights.top_1} % top-1{size}"
    # `weights="imagenet"` takes the first file that fits the arguments.
    if any(earlier.arguments == weights.arguments for earlier in published[:place]):
        how = "to be fetched by hand and imported"
    else:
        arguments = "".join(f", {key}={value}" for key, value in weights.arguments.items() if place > 0)
        how = f'`weights="imagenet"{arguments}`'
    return f"{how}: [{weights.origin}]({weights.url}), {accuracy}, license {weights.license or 'not stated'}"


def _millions(row):
    return "-" if row.paper_multiply_adds is None else f"{row.paper_multiply_adds:g} M"


def _accuracy(row):
    if row.paper_map is not None:
        return f"{row.paper_map:.1f} % mAP"
    return "-" if row.paper_top_1 is None else f"{row.paper_top_1:.1f} % top-1"


def _width(row, words):
    """The width of a row after these words, or nothing where the model has no other row."""
    return f"{words}{row.width:g}" if len(model_entry(row.model).paper) > 1 else ""
