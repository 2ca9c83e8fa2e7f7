"""Shows what the experts of a CondConv model learn: `python analyze.py --model=runs/digits --output_dir=routing`.

--model is a run folder, a `.keras` file or a SavedModel of the exporter; with --weights=imagenet it is the name of a
registered model, whose published weights are downloaded once. Every image of the split passes through the network once.
The report of a run that has logged its routing also shows it over the epochs.

The command writes `report.html` with all figures and the main numbers, `figures/` (PNG and SVG), the statistics as
`routing.npz` and CSV, and `analysis.json`. docs/analysis.md says what each number means.
"""

from absl import flags

from condconv_keras.analysis.output import PACKAGES, Analysis, write_analysis
from condconv_keras.analysis.selection import choose_classes, choose_layers
from condconv_keras.commands import cli
from condconv_keras.commands.model_flags import define_check, define_orientation
from condconv_keras.data.bad_images import bad_images_named
from condconv_keras.routing_statistics.by_epoch import read_by_epoch
from condconv_keras.routing_statistics.gathering import gather
from condconv_keras.routing_statistics.routing_model import RoutingModel
from condconv_keras.stored import StoredModel
from condconv_keras.training.run_data import labeled_dataset, open_run_dataset
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.files import checked_new_folder
from condconv_keras.utils.lazy import LazyModule, require

batch_norm_folding = LazyModule("condconv_keras.layers.batch_norm_folding")

FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    output = checked_new_folder(FLAGS.output_dir, "output_dir")
    stored = StoredModel.open(FLAGS.model, FLAGS.weights)
    stored.check_layers()
    stored.require_packages()
    require(*PACKAGES, "tqdm")
    dataset, remarks = open_run_dataset(
        stored.config,
        FLAGS.dataset,
        FLAGS.data_dir,
        None,
        False,
        stored.task,
        FLAGS.apply_orientation,
        stored.applies_orientation,
        FLAGS.check_images,
    )
    split = FLAGS.split or dataset.evaluation_split
    dataset.check_split(split)
    with bad_images_named(dataset):
        analysis = _analyze(stored, dataset, split, remarks)

    write_analysis(output, analysis)
    summary = analysis.summary()
    return cli.to_json(summary) if FLAGS.json else cli.table(_rows(summary, output))


def _analyze(stored, dataset, split, remarks):
    chosen_classes = choose_classes(dataset.class_names, FLAGS.classes or ())
    by_epoch = () if stored.config is None else read_by_epoch(RunFolder(stored.name).routing)
    model, card = stored.load_to_answer()
    # The classes are shown as the data set has them: nothing here depends on the model's.
    labeled_dataset(dataset, card, remarks)
    routing = RoutingModel(batch_norm_folding.folded_if_possible(model).model, card.preprocessing)
    chosen_layers = choose_layers([name for name, _ in routing.layers], FLAGS.layers or ())
    statistics, examples = gather(routing, card, dataset, split, FLAGS.batch_size, chosen_layers[-1])
    return Analysis(
        model=stored.name,
        dataset=dataset.name,
        split=split,
        images=statistics.images,
        layers=statistics.layers(),
        class_names=dataset.class_names,
        examples=examples,
        chosen_layers=chosen_layers,
        chosen_classes=chosen_classes,
        by_epoch=by_epoch,
    )


def _rows(summary, output):
    return [
        ("model", summary["model"]),
        ("data set", f"{summary['dataset']}, {summary['examples']} examples of {summary['split']}"),
        ("report", output / "report.html"),
        *((layer["layer"], _layer_text(layer)) for layer in summary["layers"]),
    ]


def _layer_text(layer):
    return (
        f"class-specificity {layer['class_specificity']:.4f}, mean weight {layer['mean']:.4f}, "
        f"dead {len(layer['dead'])}, always on {len(layer['always_on'])} of {layer['experts']} experts"
    )


def _define_flags():
    flags.DEFINE_string("model", None, "Run folder, .keras file or SavedModel of the exporter.", required=True)
    flags.DEFINE_string("weights", None, "'imagenet' for the published weights of a registered model.")
    flags.DEFINE_string("dataset", None, "Data set, as for train.py; default: the run's.")
    flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets; default: the run's.")
    flags.DEFINE_string("split", None, "Split of the data set; default: its held-out one.")
    define_check()
    define_orientation()
    flags.DEFINE_integer("batch_size", 64, "Images at a time; does not change the result.", lower_bound=1)
    flags.DEFINE_list(
        "layers", None, "Routing layers to show; the last is shown in detail. Default: first, middle, last."
    )
    flags.DEFINE_list("classes", None, "Names of the classes to compare; default: the four with most images.")
    flags.DEFINE_string("output_dir", None, "Folder to write, a new one.", required=True)
    flags.DEFINE_bool("json", False, "Print analysis.json instead of a table.")


def run():
    """Runs the command."""
    _define_flags()
    cli.run(main)


if __name__ == "__main__":
    run()
