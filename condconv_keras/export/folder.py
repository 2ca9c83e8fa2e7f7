"""Writes a folder of exported files that answer as their Keras model does; one that does not is left out, and named."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from condconv_keras.export.check.export_check import Differs, ExportCheck
from condconv_keras.export.format import ExportFormat, WriteOptions
from condconv_keras.export.manifest import export_facts, file_facts, write_cards
from condconv_keras.export.web.page import FOLDER, WebPage
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import MissingPackage, UserError, one_line
from condconv_keras.utils.files import whole_folder
from condconv_keras.utils.lazy import keras, require

if TYPE_CHECKING:
    from condconv_keras.stored import StoredModel


def require_packages(formats: Iterable[ExportFormat], task: str) -> None:
    """Raises a `MissingPackage` unless the packages that an export takes are installed; imports none.

    Args:
        formats: as in `write_folder`.
        task: one of `TASKS`, the model's.
    """
    get_task(task).require()
    get_task(task).require_metrics()
    for file_format in formats:
        require(*file_format.packages, extra="export")


@dataclasses.dataclass(frozen=True)
class Written:
    """The outcome of an export.

    Attributes:
        files: a pair for each file that passed its check, with what is to be known of it: a dict that JSON can hold,
            and text for a person.
        refused: a dict for each other one, with `file`, `quantization`, `reason` and, where it was compared, the
            figures.
        page: a dict with what is to be known of the page, or None if there is none.
    """

    files: list[tuple[dict[str, Any], str]]
    refused: list[dict[str, Any]]
    page: dict[str, Any] | None = None


def write_folder(
    output: str | os.PathLike[str],
    formats: Sequence[ExportFormat],
    model: keras.Model,
    card: ModelCard,
    check: ExportCheck,
    options: WriteOptions,
    stored: StoredModel,
    page: WebPage | None = None,
) -> Written:
    """Writes the files of those formats that pass the check, with the cards and what else their readers need.

    Args:
        output: path of the folder, which must not exist or be empty.
        formats: list of `condconv_keras.export.format.ExportFormat`s.
        model: Keras model.
        card: its `ModelCard`.
        check: its `condconv_keras.export.check.export_check.ExportCheck`.
        options: `condconv_keras.export.format.WriteOptions`.
        stored: the `condconv_keras.stored.StoredModel` that it was loaded from.
        page: the `condconv_keras.export.web.page.WebPage` that runs one of the files, or None for none.

    Returns:
        `Written`.

    Raises:
        UserError: no file can be written that equals the Keras model; the folder is left as it was.
        MissingPackage: a package is not installed that this takes.
    """
    require_packages(formats, card.task)
    written = Written([], [])
    with whole_folder(output) as folder:
        for each in formats:
            try:
                written.files.append(_write(folder, each, model, card, check, options))
            except UserError as error:
                _remove(folder / each.file_name)
                hint = _hint(each, options, stored.is_trained)
                written.refused.append(_refusal(folder, each, error, hint))
        if not written.files:
            raise UserError(f"{'; '.join(refused['reason'] for refused in written.refused)}; nothing is written")
        of_files = [of_file for of_file, _ in written.files]
        facts: dict[str, Any] = {"static_kernels": options.static_kernels, "metadata": options.metadata}
        if page is not None:
            written = _with_page(written, page, folder, card, stored, of_files)
            facts["web"] = written.page
        facts |= export_facts(card, stored, of_files, written.refused)
        write_cards(folder, card, facts)
        get_task(card.task).write_beside(folder, card, options.raw_outputs)
    return written


def _with_page(
    written: Written,
    page: WebPage,
    folder: pathlib.Path,
    card: ModelCard,
    stored: StoredModel,
    of_files: list[dict[str, Any]],
) -> Written:
    """Writes the page; where none of the files that passed is for it, it is refused as a file is."""
    try:
        return dataclasses.replace(written, page=page.write(folder, card, stored, of_files))
    except UserError as error:
        refused = {"file": FOLDER, "quantization": page.quantization, "reason": str(error)}
        return dataclasses.replace(written, refused=[*written.refused, refused])


def _write(
    folder: pathlib.Path,
    file_format: ExportFormat,
    model: keras.Model,
    card: ModelCard,
    check: ExportCheck,
    options: WriteOptions,
) -> tuple[dict[str, Any], str]:
    """Writes one file and checks it; returns what is to be known of it, as a dict and as text."""
    path = folder / file_format.file_name
    print(f"writing {path.name}", file=sys.stderr)
    try:
        file_format.write(path, model, card, options)
    except (UserError, MissingPackage, OSError):
        raise
    except Exception as error:
        # Where a network is traced, its owner's layers may raise anything.
        raise UserError(f"{path.name} cannot be written: {one_line(error, 300)}") from error
    write_cards(folder, card)
    print(f"checking {path.name}", file=sys.stderr)
    comparison, accuracy = check(path, file_format)
    of_task = get_task(card.task).file_facts(file_format, card, options.raw_outputs)
    facts = {**file_facts(path, file_format), **of_task}
    found = [figures for figures in (comparison, accuracy) if figures is not None]
    for figures in found:
        facts |= figures.to_dict()
    return facts, ", ".join([f"{facts['bytes'] / 1e6:.2f} MB", *(figures.text for figures in found)])


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _refusal(folder: pathlib.Path, file_format: ExportFormat, error: UserError, hint: str) -> dict[str, Any]:
    """What is to be known of a file that was refused, a dict."""
    reason = str(error).replace(f"{folder}/", "")  # which is gone soon
    facts = {"file": file_format.file_name, "quantization": file_format.quantization, "reason": reason}
    return {**facts, "reason": f"{reason}{hint}", **error.figures} if isinstance(error, Differs) else facts


def _hint(file_format: ExportFormat, options: WriteOptions, is_trained: bool) -> str:
    """What to try where a file of a format was refused."""
    if file_format.min_snr_db is None:
        return ""
    if not is_trained:
        return "; random weights may be too sensitive to rounding: try another `seed`"
    if file_format.is_calibrated:
        count = 0 if options.representative is None else len(options.representative)
        return f"; {file_format.label} was calibrated on {count} images: are they like the model's data?"
    return ""
