"""The data set of a run: opened as the run has split it, compared with what it was trained on, labeled as it is."""

import dataclasses
import os

from condconv_keras.data.dataset import VALIDATION_FRACTION
from condconv_keras.data.model_labels import with_model_labels
from condconv_keras.data.split_rule import NEW, PLACE, SplitRule
from condconv_keras.data.unused_arguments import check_data_arguments, check_validation_fraction
from condconv_keras.facts.class_names import match_classes
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError, warn


def split_rule(config):
    """Returns the `SplitRule` of the run of a `TrainConfig`, or that of today for None.

    A run of version 0.1, which does not name it, permuted the places of the images.
    """
    if config is None:
        return NEW
    rule = SplitRule(PLACE, ()) if config.data is None else config.data.rule
    return dataclasses.replace(rule, fraction=config.validation_fraction) if rule.moved else rule


def open_run_dataset(
    config,
    dataset,
    data_dir,
    validation_fraction,
    skip_bad_images,
    task=ModelCard.task,
    apply_orientation=None,
    model_orientation=True,
    check_images=None,
):
    """Opens the data set of a command about a run: what the command leaves open is the run's.

    Args:
        config: `TrainConfig` of the run, or None if the model is not one of a run.
        dataset: name, as in `condconv_keras.data.open_dataset`, or None for the run's.
        data_dir: as there, or None for the run's.
        validation_fraction: as there, not more than the run's for its own data; None for the run's.
        skip_bad_images: whether undecodable images are left out; they are, too, where the run left them out.
        task: of the model, one of `TASKS`.
        apply_orientation: as there, or None for the model's own.
        model_orientation: the model's own, as its card says.
        check_images: as in `condconv_keras.data.open_dataset`, or None for the run's where none is to be left out.

    Returns:
        A data set of the task, and the list of what a person has to know of it, texts for `labeled_dataset`: how it
        differs from what the run was trained on, or that nothing tells what the model was trained on.

    Raises:
        UserError: there is neither a name nor a run, an argument that the data set has no use for, a fraction that
            would hold out what the run was trained on, or the data set cannot be opened.
    """
    if dataset is None and config is None:
        raise UserError("`dataset` is needed: only a run folder says which data it was trained on")
    own = {"data_dir": data_dir, "validation_fraction": validation_fraction, "skip_bad_images": skip_bad_images}
    given = {name for name, value in own.items() if value not in (None, False)}
    if apply_orientation is None:
        apply_orientation = model_orientation
    else:
        given.add("apply_orientation")
    if check_images is False:
        given.add("check_images")
    if dataset is None and os.path.isabs(config.dataset) and not os.path.isdir(config.dataset):
        raise UserError(f"the data of the run are no longer in {config.dataset!r}: give their place as `dataset`")
    is_own = config is not None and (dataset is None or _same_data(dataset, config.dataset))
    if is_own:
        dataset = config.dataset if dataset is None else dataset
        data_dir = data_dir or config.data_dir
        skip_bad_images = skip_bad_images or config.skip_bad_images
        check_images = (config.check_images or skip_bad_images) if check_images is None else check_images
    check_data_arguments(given, dataset, data_dir, get_task(task).dataset)
    if is_own:
        _check_fraction(validation_fraction, config)
    if validation_fraction is None:
        validation_fraction = VALIDATION_FRACTION if config is None else config.validation_fraction
    # Those of a run are those of a copy of its data, too.
    options = {
        "split_rule": split_rule(config),
        "apply_orientation": apply_orientation,
        "check_images": check_images is not False,
    }
    opened = get_task(task).open_dataset(dataset, data_dir, validation_fraction, skip_bad_images, **options)
    check_validation_fraction(given, opened)
    return opened, _remarks(config, opened, is_own)


def labeled_dataset(dataset, card, remarks=()):
    """Returns a data set with the classes of a model, as of `with_model_labels`, and prints what has to be known of it.

    Args:
        dataset, card: as there.
        remarks: texts, as of `open_run_dataset`.

    Raises:
        UserError: as `with_model_labels`; nothing is printed.
    """
    labeled, notes = with_model_labels(dataset, card)
    for text in [*remarks, *notes]:
        warn(text)
    return labeled


def continued_dataset(config, dataset):
    """Returns the data set with which a run goes on, labeled as the run has labeled it so far.

    A warning says so where other images are there than before.

    Args:
        config: `TrainConfig` of the run as it was stored.
        dataset: its data set as it is now, opened by the `split_rule` of the run.

    Raises:
        UserError: the data set has other classes, or was split by another rule.
    """
    rule = split_rule(config)
    if dataset.split_rule in (NEW.name, PLACE) and dataset.split_rule != rule.name:
        raise UserError(f"{dataset.name!r} was split by {dataset.split_rule!r}, the run by {rule.name!r}")
    if config.data is None:
        return dataset
    names = config.data.class_names
    try:
        match = match_classes(names, dataset.class_names, subset=False, owner="run")
    except UserError as error:
        raise UserError(
            f"the classes of {dataset.name!r} are no longer those that the run was trained on ({error}): make them "
            "what they were, or give another `model_dir`"
        ) from error
    for text in [*_changes(config.data, dataset), *match.notes]:
        warn(text)
    return dataset.with_classes(names, match.indices)


def _same_data(dataset, of_run):
    """Whether the name of a data set means that of a run, which is an absolute path if it is a folder's."""
    path = os.path.expanduser(dataset)
    return dataset == of_run or (os.path.isdir(path) and os.path.isdir(of_run) and os.path.samefile(path, of_run))


def _check_fraction(fraction, config):
    if fraction is not None and fraction > config.validation_fraction:
        raise UserError(
            f"`validation_fraction={fraction}` would hold out images that the run was trained on: it held out "
            f"{config.validation_fraction}"
        )


def _remarks(config, dataset, is_own):
    """What has to be known of a data set that a model is evaluated on, a list of texts."""
    if is_own and config.data is not None:
        return _changes(config.data, dataset)
    if not dataset.held_out:
        return []
    if is_own:
        return [
            f"the run is of version 0.1, which does not say what it held out of {dataset.name!r}: if images were added "
            "or removed since, it has been trained on some that are held out now"
        ]
    if config is None:
        knows = "a model that was trained on it may have seen that part, which only a run folder knows"
    elif config.data is not None and not config.data.changes(dataset):  # a copy of the run's data
        return []
    else:
        knows = (
            f"the model may have seen that part, as the run was trained on other data, {config.dataset!r}, or on the "
            "same ones under other names"
        )
    return [
        f"{dataset.name!r} has no split to evaluate on, so a part is held out; {knows}. To evaluate all of a folder, "
        "put its class folders into one called test"
    ]


def _changes(record, dataset):
    """How a data set differs from that of a run, a list of one text or none."""
    changes = record.changes(dataset)
    if not changes:
        return []
    return [f"the data in {dataset.name!r} are no longer those that the run was trained on: {'; '.join(changes)}"]
