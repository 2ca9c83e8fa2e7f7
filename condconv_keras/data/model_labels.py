"""A data set with the labels of a model: classes are matched by their names, never by their place."""

from condconv_keras.facts.class_names import match_classes
from condconv_keras.utils.errors import UserError


def with_model_labels(dataset, card):
    """Labels a data set as a model does.

    Args:
        dataset: data set of the model's task; it may have its classes in another order, or lack some of the model's.
        card: `condconv_keras.facts.model_card.ModelCard`.

    Returns:
        The data set with the model's classes, and the list of what a person has to know of the match, texts.

    Raises:
        UserError: the data set has a class that the model does not have.
    """
    try:
        match = match_classes(card.names_told_apart(), dataset.class_names)
    except UserError as error:
        numbered = _are_numbers(card.class_names) and not _are_numbers(dataset.class_names)
        hint = "give the model a card with the names of its classes" if numbered else "rename them or leave them out"
        raise UserError(
            f"the data set {dataset.name!r} has classes that the model does not have ({error}): {hint}"
        ) from error
    return dataset.with_classes(card.class_names, match.indices), match.notes


def _are_numbers(names):
    return all(name.isdecimal() for name in names)
