"""The card of an exported model, which lies beside it and says by the SHA-256 of its files which model it is of."""

from __future__ import annotations

import json
import os
import pathlib

from condconv_keras.facts.model_card import FILE_NAME, ModelCard
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import content_hash


def exported_card(
    card_file: str | os.PathLike[str], path: str | os.PathLike[str], cards: str | None = None
) -> ModelCard:
    """Reads the card of an exported file or folder.

    Args:
        card_file: path of the card.
        path: of the file or folder.
        cards: name of the folder's sub-folder with the card, which is no part of what the card is of, or None.

    Raises:
        UserError: there is no card, it is damaged, or it is that of another file.
    """
    card_file = pathlib.Path(card_file)
    if not card_file.is_file():
        raise UserError(
            f"expected the classes and preprocessing of the model in {str(card_file)!r}, which does not exist"
        )
    try:
        text = card_file.read_bytes()
        card, hashes = ModelCard.from_json(text), _hashes(text)
    except ValueError as error:
        raise UserError(f"expected a model card in {str(card_file)!r} ({error})") from error
    if hashes and content_hash(path, cards) not in hashes.values():
        raise UserError(
            f"expected the card of {os.fspath(path)!r} in {str(card_file)!r}, it is the card of other files by their "
            f"SHA-256 ({', '.join(hashes)}): put the {FILE_NAME} there that was exported with the file, or, where the "
            "file was changed on purpose, take `files` out of it"
        )
    return card


def _hashes(text: bytes) -> dict[str, str]:
    """A dict of the names of the files that a card says it is of to their SHA-256; a card made otherwise names none.

    Raises:
        ValueError: it says so in another form.
    """
    try:
        return {str(file["file"]): str(file["sha256"]) for file in json.loads(text).get("files", [])}
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the `files` of a model card: {error!r}") from error
