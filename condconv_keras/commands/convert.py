"""Gives a trained model experts: `python -m condconv_keras.convert --model=plain.keras --output=twin.keras`.

--model is a run folder, a SavedModel of the exporter or a `.keras` file, of this library or of any functional or
sequential Keras model. The file that is written computes what the model computes, and its experts grow apart when it is
trained on. The card, where the model has one, comes along.

--layers names the convolutions and dense layers that get experts, `--layers="block_1[0-6]_*,head"`; without it the
deeper half of the convolutions by multiply-adds does, where experts pay most. --images lets the new routers tell images
apart from the first step on: without, what a trained network hands them may be too large or too small for that.
"""

import os

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.commands.image_arguments import image_arguments
from condconv_keras.models.saving import save_model
from condconv_keras.stored import StoredModel
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.files import whole_file
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.weights.convert import check_output

conversion = LazyModule("condconv_keras.convert.conversion")

FLAGS = flags.FLAGS

_MOST_IMAGES = 64


def main(argv):
    cli.expect_flags_only(argv)
    output = check_output(FLAGS.output)
    images = [] if FLAGS.images is None else image_arguments([FLAGS.images])[0][:_MOST_IMAGES]
    stored = StoredModel.open(FLAGS.model)
    stored.check_layers()
    model, card = stored.load()
    if images and card is None:
        raise UserError(f"--images is for a model with a card, which says how to scale them; {stored.name!r} has none")
    try:
        found = conversion.converted(
            model,
            FLAGS.num_experts,
            FLAGS.layers or None,
            FLAGS.routing,
            card.inputs([image.read(card.preprocessing.apply_orientation) for image in images]) if images else None,
        )
    except UserError:
        raise
    except ValueError as error:
        raise UserError(one_line(error)) from error
    result = {"model": FLAGS.model, "output": os.fspath(output), "num_experts": FLAGS.num_experts}
    result |= {"layers": found.layers, **found.costs, "images": len(images)}
    if card is None:
        with whole_file(output) as partial:
            found.model.save(partial)
    else:
        save_model(found.model, card, output)
    return cli.to_json(result) if FLAGS.json else f"{found.text}\nwritten: {output}"


def _define_flags():
    flags.DEFINE_string(
        "model", None, "Model to give experts: a run folder, .keras file or SavedModel of the exporter.", required=True
    )
    flags.DEFINE_string("output", None, "Name of the .keras file to write.", required=True)
    flags.DEFINE_integer("num_experts", 8, "Experts of every converted layer.", lower_bound=1)
    flags.DEFINE_list(
        "layers",
        None,
        "Names or patterns of the layers that get experts, or of their paths through models inside the model. Default: "
        "the deeper half of the convolutions by multiply-adds.",
    )
    flags.DEFINE_enum(
        "routing",
        "layer",
        ("layer", "block"),
        "Unit that has a router of its own. Blocks are told from names such as block_7_expand.",
    )
    flags.DEFINE_string(
        "images",
        None,
        f"A file, folder or pattern of images as in training, of which {_MOST_IMAGES} fit the routers.",
    )
    flags.DEFINE_bool("json", False, "Print the result as one JSON object.")


def run():
    """Runs the command."""
    _define_flags()
    cli.run(main)


if __name__ == "__main__":
    run()
