"""Writes the folder of a page that runs an exported `.tflite` file in a browser."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shlex
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from condconv_keras.export.manifest import export_facts, write_cards
from condconv_keras.export.web.litert_js import VERSION, write_litert
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import counted_files

if TYPE_CHECKING:
    from condconv_keras.stored import StoredModel

FOLDER = "web"
MODEL = "model.tflite"
_PAGE = pathlib.Path(__file__).parent / "page"
_FILES = ("index.html", "style.css", "app.js", "prepare.js")


@dataclasses.dataclass(frozen=True, eq=False)
class WebPage:
    """The page of an exported model.

    The folder needs a server of files and no network besides: `index.html` with its script and style, the model as
    `model.tflite`, its card, and LiteRT.js. It is no further file to check: the model in it is one that has passed.

    Attributes:
        litert: what `condconv_keras.export.web.litert_js.litert_files` returns.
        quantization: the mode of the file that it runs, or None for the smallest file.
    """

    litert: dict[str, bytes]
    quantization: str | None = None

    def write(
        self, folder: pathlib.Path, card: ModelCard, stored: StoredModel, files: Sequence[dict[str, Any]]
    ) -> dict[str, Any]:
        """Writes the page into an exported folder.

        Args:
            folder: `pathlib.Path` of the export, its `.tflite` files in place.
            card: the model's `ModelCard`.
            stored: the `condconv_keras.stored.StoredModel` that it was loaded from.
            files: facts of the files that passed their check, as `model.json` has them.

        Returns:
            What is to be known of the page, as a dict that JSON can hold.

        Raises:
            UserError: no file passed that it could run.
        """
        chosen = self._chosen(files)
        page = folder / FOLDER
        page.mkdir()
        for name in _FILES:
            shutil.copyfile(_PAGE / name, page / name)
        shutil.copyfile(folder / chosen["file"], page / MODEL)
        write_litert(page / "litert", self.litert)
        facts = export_facts(card, stored, [{**chosen, "file": MODEL}])
        del facts["source"]  # a path on the machine that exports, which is nobody else's business
        write_cards(page, card, facts)
        size = sum(file.stat().st_size for file in counted_files(page))
        return {"folder": FOLDER, "made_of": chosen["file"], "bytes": size, "litertjs": VERSION}

    def _chosen(self, files: Sequence[dict[str, Any]]) -> dict[str, Any]:
        fitting = [file for file in files if self.quantization in (None, file["quantization"])]
        fitting = [file for file in fitting if file["file"].endswith(".tflite")]
        if not fitting:
            which = "a .tflite file" if self.quantization is None else f"the {self.quantization} file"
            raise UserError(f"the page needs {which}, and none has passed its check")
        return min(fitting, key=lambda file: file["bytes"])


def how_to_open(folder: str | os.PathLike[str]) -> str:
    """Returns what a person does to see the page in a folder."""
    return f"run `python -m http.server --directory {shlex.quote(str(folder))}` and open http://localhost:8000"
