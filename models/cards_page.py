"""docs/models.md: one card per registered model."""

from models.published_weights import PUBLISHED_WEIGHTS
from models.registry import model_entry

_HEAD = """# Models

Written by `python -m models --markdown`; edit the registry (`models/entries.py`, `models/published_weights.py`), not
this page.

Parameters and multiply-adds are counted on the model as it is built here, for one image of the given size:
parameters with batch normalisation's gamma and beta, without its moving statistics. The published figures are those of
the CondConv paper or of its authors' release, at n = 8 experts unless the card says otherwise. Accuracies are as their
publishers report them: ImageNet is not available where this project is developed, so we have measured none.

An image is resized so that its centre crop of the given fraction has the input's size, and scaled to
`(x - offset) / scale` for pixels x in 0..255. Published weights may ask for another scaling, padding or input size;
an import sets them and stores them in the file.
"""


def page(rows):
    """Returns the page of the models.

    Args:
        rows: `models.table.Row` of each model.
    """
    index = [
        "| model | parameters | multiply-adds | published multiply-adds | published top-1 |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (f"{row.parameters:,}", f"{row.multiply_adds:.1f} M", _millions(row), _percent(row.paper_top_1))
        index.append(f"| [`{row.model}`](#{row.model}) | {' | '.join(cells)} |")
    return "\n".join([_HEAD, "\n".join(index), *(_card(row) for row in rows)])


def _card(row):
    entry = model_entry(row.model)
    parts = {name: getattr(row, name) for name in ("convolution", "mixing", "routing", "elementwise")}
    cost = f"{row.multiply_adds:.2f} M ({', '.join(f'{name} {value:.2f}' for name, value in parts.items() if value)})"
    figures = "no figures of the CondConv paper"
    if row.difference is not None:
        figures = f"{row.paper_multiply_adds:g} M multiply-adds, {row.paper_top_1:.1f} % top-1; our count differs by "
        figures += f"{row.difference:+.2f} %"
    lines = [
        "",
        f"## {row.model}",
        "",
        f"{entry.summary}. Reference: <{entry.reference}>.",
        "",
        f"- Parameters: {row.parameters:,}, of which batch normalisation {row.batch_norm:,}",
        f"- Multiply-adds: {cost}",
        f"- Published: {figures}",
        f"- Input: {row.input}, crop fraction {entry.crop_fraction}, {entry.interpolation}, offset "
        f"{entry.input_offset:g}, scale {entry.input_scale:g}",
    ]
    if entry.placement:
        lines.append(f"- CondConv: {_placement(entry.placement)}")
    published = PUBLISHED_WEIGHTS.get(row.model, ())
    lines += [f"- Weights: {_weights(weights, i, published)}" for i, weights in enumerate(published)]
    if row.model not in PUBLISHED_WEIGHTS:
        plain = row.model.removeprefix("condconv_")
        warm_start = (
            f"; `train.py --weights=imagenet` starts it from those of `{plain}`" if plain in PUBLISHED_WEIGHTS else ""
        )
        lines.append(f"- Weights: none are published{warm_start}")
    command = f"python train.py --model={row.model} --dataset=imagenet2012 --data_dir=DIR --recipe={entry.recipe}"
    return "\n".join([*lines, f"- Recipe: `{command} --model_dir=runs/{row.model}`"])


def _placement(placement):
    start = f"group {placement.start_group}" if placement.start_block is None else f"block {placement.start_block}"
    parts = [f"{placement.num_experts} experts from {start} on"]
    for field, words in (
        ("head", "head convolution"),
        ("shortcut", "projection shortcuts"),
        ("classifier", "classifier"),
    ):
        if getattr(placement, f"condconv_{field}"):
            parts.append(words)
    return ", ".join(parts)


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
    return f"{how}: [{weights.origin}]({weights.url}), {accuracy}, licence {weights.licence or 'not stated'}"


def _millions(row):
    return "-" if row.paper_multiply_adds is None else f"{row.paper_multiply_adds:g} M"


def _percent(value):
    return "-" if value is None else f"{value:.1f} %"
