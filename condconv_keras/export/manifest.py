"""`model.json`: the model card, and what a program on a phone or a server has to know of the files beside it."""

import dataclasses

from condconv_keras.export.formats import FORMATS
from condconv_keras.facts.model_card import CLASSIFICATION, FILE_NAME, PROBABILITIES
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.files import content_hash, counted_files, put_text
from condconv_keras.utils.json_text import json_text
from condconv_keras.utils.versions import versions

LABELS = "labels.txt"
_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy")


def write_cards(folder, card, facts=None):
    """Writes `model.json` and `labels.txt` where the readers of the folder's files look for them.

    Args:
        folder: with exported files.
        card: `ModelCard` of the network.
        facts: dict of what stands beside the card's fields in `model.json`.
    """
    if card.task == CLASSIFICATION:
        card = dataclasses.replace(card, returns=PROBABILITIES)  # whatever the network in them does
    text = json_text({**card.to_dict(), **(facts or {})}) + "\n"
    places = [folder]
    for file_format in FORMATS:
        if file_format.cards and (folder / file_format.file_name).is_dir():
            places.append(folder / file_format.file_name / file_format.cards)
    for place in places:
        place.mkdir(exist_ok=True)
        put_text(place / FILE_NAME, text)
        put_text(place / LABELS, card.labels)


def export_facts(card, stored, files, refused=()):
    """Returns what `model.json` says of an export besides the card.

    Args:
        card: `ModelCard`.
        stored: `condconv_keras.stored.StoredModel`.
        files: list of dicts as `file_facts` returns them, with the figures of the check.
        refused: of each file that was asked for and is not there a dict with the reason.
    """
    return {
        "source": stored.to_dict(),
        "input": {
            "name": "images",
            "shape": list(card.preprocessing.input_shape),
            "range": [0, 255],
            "scaled_inside": True,
        },
        **get_task(card.task).output_facts(card),
        "files": files,
        "refused": list(refused),
        "versions": versions(_PACKAGES),
    }


def file_facts(path, file_format):
    """Returns name, quantization, input tensor, size and SHA-256 of an exported file or folder.

    `"routing_outputs"` has the names of the routers whose weights the file returns, if any, and their experts.
    `"float_layers"` are those that an 8-bit file keeps out of 8 bits, if any, as they would cost its answers most.
    `"input"` has the shape of a batch, null for any size, and the type. An integer there has `"scale"` and
    `"zero_point"`: pixel = (integer - zero point) * scale.
    """
    routers, float_layers = file_format.routers(path), file_format.float_layers(path)
    return {
        "file": path.name,
        "quantization": file_format.quantization,
        "input": file_format.input(path),
        **({"routing_outputs": routers} if routers else {}),
        **({"float_layers": float_layers} if float_layers else {}),
        "bytes": sum(file.stat().st_size for file in counted_files(path, file_format.cards)),
        # Without the cards, where this hash itself is written.
        "sha256": content_hash(path, file_format.cards),
    }
