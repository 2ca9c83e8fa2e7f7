"""What an export format is: a class that names a file, writes it, reads it back, and says how near to Keras it must be.

A new format is a class like these and a row of `condconv_keras.export.formats.FORMATS`.
"""

from __future__ import annotations

import abc
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np

from condconv_keras.export.budget import Budget
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import keras


@dataclasses.dataclass(frozen=True, eq=False)
class WriteOptions:
    """The wishes of a user for the files; each format takes those that it has a use for.

    Attributes:
        representative: float32 [count, height, width, channels] in 0..255, images as the model will see them, for a
            format whose `is_calibrated`; else None.
        static_kernels: whether CondConv layers compute every expert with static kernels.
        int8_input: `"uint8"` or `"int8"`, what a file with 8-bit activations takes.
        raw_outputs: whether a detector returns what its network does, without non-maximum suppression.
        batch_size: how many images a file takes at a time, for a format that takes one number of them only.
        metadata: whether a classifier's file carries the metadata of MediaPipe Tasks, for a format that can.
        routing_outputs: whether a CondConv model's file returns its routing weights as well.
        budget: costs that a file of 8-bit weights may have for layers that it keeps out of 8 bits, fractions of its
            bytes and of its multiply-adds, or None to keep none out.
    """

    representative: np.ndarray | None = None
    static_kernels: bool = False
    int8_input: Literal["uint8", "int8"] = "uint8"
    raw_outputs: bool = False
    batch_size: int = 1
    metadata: bool = False
    routing_outputs: bool = False
    budget: Budget | None = None


@dataclasses.dataclass(frozen=True)
class ExportFormat(abc.ABC):
    """One kind of exported file and the thresholds of its check (`condconv_keras.export.check` defines the figures).

    A format has one of the thresholds `max_relative_error` and `min_snr_db`.

    Attributes:
        name: value of --formats that chooses it.
        file_name: name of the file or folder.
        quantization: value of --quantization that chooses it among the formats of its name, or None if it is alone.
        summary: its words in the help of --quantization.
        max_relative_error: largest relative error.
        min_snr_db: least signal-to-noise ratio in dB.
        min_trained_snr_db: the limit in place of `min_snr_db` for a trained model, whose top-1 accuracy counts.
            Training pushes the probabilities of the wrong classes towards 0; their logarithms are large and of no
            interest, and rounding keeps them less well than those of a random network.
        weights_dtype: type that the file's weights are rounded to, where a network may be so sensitive to that alone
            that no file could reach `min_snr_db`, which such a format has: what the Keras model with its weights
            rounded reaches, less `export_check.ROUNDING_MARGIN_DB`, is enough then, but not less than
            `export_check.LEAST_ROUNDED_SNR_DB`.

    Attributes of a class:
        - packages: names of the packages, of the extra `export`, that writing and reading a file takes.
        - is_default: whether an export writes it where --formats is not given.
        - flags: names of the flags that only some formats use and this one does.
        - threads: numbers of threads that the check runs a file with; None is the reader's choice.
        - cards: sub-folder of an exported folder where the cards lie, too; no part of its size and hash.
        - box_unit: unit of a detector's boxes, `"fraction"` of the image or `"pixel"`.
    """

    name: str
    file_name: str
    quantization: str | None = None
    summary: str = ""
    max_relative_error: float | None = None
    min_snr_db: float | None = None
    min_trained_snr_db: float | None = None
    weights_dtype: str | None = None

    packages: ClassVar[tuple[str, ...]] = ()
    is_default: ClassVar[bool] = False
    flags: ClassVar[tuple[str, ...]] = ()
    threads: ClassVar[tuple[int | None, ...]] = (None,)
    cards: ClassVar[str | None] = None
    box_unit: ClassVar[Literal["fraction", "pixel"]] = "fraction"

    def __post_init__(self) -> None:
        if (self.max_relative_error is None) == (self.min_snr_db is None):
            received = f"{self.max_relative_error} and {self.min_snr_db}"
            raise ValueError(f"expected one of `max_relative_error` and `min_snr_db`. Received: {received}")

    @property
    def label(self) -> str:
        """The name of the format in messages."""
        return self.quantization or self.name

    @property
    def is_calibrated(self) -> bool:
        """Whether it needs representative images."""
        return "representative_data" in self.flags

    @abc.abstractmethod
    def write(self, path: pathlib.Path, model: keras.Model, card: ModelCard, options: WriteOptions) -> None:
        """Writes the file or folder.

        Args:
            path: `pathlib.Path`, where nothing lies yet.
            model: functional or sequential Keras model that computes in float32.
            card: its `ModelCard`.
            options: `WriteOptions`.

        Raises:
            UserError: the format has no way to store the model.
        """

    @abc.abstractmethod
    def predictor(
        self, path: pathlib.Path, model: keras.Model, card: ModelCard, threads: int | None = None
    ) -> Callable[..., Any]:
        """Loads a file as its user would, the cards beside it, for the check.

        Args:
            path: where the file lies.
            model: the Keras model that was exported, for a format that holds no network; it must stay as it is.
            card: its `ModelCard`.
            threads: one of the class's `threads`, or None.

        Returns:
            A function of images as of `Task.keras_predict`.

        Raises:
            UserError: the file cannot be loaded.
        """

    def raw_outputs(
        self, path: pathlib.Path, model: keras.Model, card: ModelCard, images: np.ndarray, threads: int | None = None
    ) -> dict[str, np.ndarray]:
        """Returns what the network in a detector's file returns, a dict of `box_codes` and `class_logits`.

        Arguments and errors as of `predictor`, and float32 images [count, height, width, channels] in 0..255.
        """
        raise UserError(f"the format {self.name!r} is not for a {get_task(card.task).noun}")

    def routing_weights(
        self, path: pathlib.Path, images: np.ndarray, threads: int | None = None
    ) -> dict[str, np.ndarray]:
        """Returns the routing weights that a file returns as outputs of their own, a dict of a router's name to them.

        They are float32 [count, experts]; the dict is empty for a file without them. Arguments as of `raw_outputs`.
        """
        return {}

    def routers(self, path: pathlib.Path) -> dict[str, int]:
        """Returns the names of the routers whose weights a file returns, and their numbers of experts."""
        return {}

    def float_layers(self, path: pathlib.Path) -> list[str]:
        """Returns the names of the layers that a file keeps out of 8 bits, which would cost its answers too much."""
        return []

    def input(self, path: pathlib.Path) -> dict[str, Any]:
        """Returns what `model.json` says of the images that a file takes, as `manifest.file_facts` describes it."""
        return {"dtype": "float32", "batch": None}
