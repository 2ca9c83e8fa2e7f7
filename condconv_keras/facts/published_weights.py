"""What is known of a published file of ImageNet weights; the families of the zoo have those of their models.

A hash, a license or an accuracy is stated only if a public page gives it. Accuracies are the publisher's, measured with
the publisher's preprocessing: of timm's files results/results-imagenet.csv of pytorch-image-models, of the CondConv
files that timm ported its table of TensorFlow preprocessing, of keras.applications the table on keras.io, of the
authors' archives the README of their code.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

_AUTHORS = "https://storage.googleapis.com/cloud-tpu-checkpoints/efficientnet/condconv"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """One published file of weights and what is known of it.

    Attributes:
        url: where it is.
        file_name: its name in the cache, another one for each file.
        kind: what the file is, for people, as in `"timm checkpoint"`.
        origin: who published it.
        license: SPDX identifier that the publisher gives, or None if none was found.
        top_1: ImageNet top-1 accuracy in percent as the publisher reports it, or None.
        top_1_input_size: height and width in pixels that the accuracy was measured at, or None.
        file_hash: hexadecimal SHA-256 or MD5 of the file, or None if it is not known.
        arguments: the `create_model` arguments that these weights need.
    """

    url: str
    file_name: str
    kind: str
    origin: str
    license: str | None = None
    top_1: float | None = None
    top_1_input_size: int | None = None
    file_hash: str | None = None
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=lambda: types.MappingProxyType({}))


def timm_file(name: str, **facts: Any) -> PublishedWeights:
    """Returns the facts of a checkpoint of pytorch-image-models, all of which are called model.safetensors.

    Args:
        name: of the network and its weights there.
        **facts: fields of `PublishedWeights` that are not the same for all.
    """
    facts = {"license": "apache-2.0", "top_1_input_size": 224, **facts}
    return _published(
        url=f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors",
        file_name=f"{name}.safetensors",
        kind="timm checkpoint",
        origin=f"pytorch-image-models, timm/{name}",
        **facts,
    )


def keras_applications_file(url: str, **facts: Any) -> PublishedWeights:
    """Returns the facts of a file of keras.applications, whose license no page names; `facts` as in `timm_file`."""
    return _published(
        url=url,
        file_name=url.rsplit("/", 1)[-1],
        kind="keras.applications weights",
        origin="keras.applications",
        top_1_input_size=224,
        **facts,
    )


def authors_archive(name: str, **facts: Any) -> PublishedWeights:
    """Returns the facts of an archive of the CondConv paper's authors, whose license no page names.

    Args:
        name: of the archive.
        **facts: as in `timm_file`.
    """
    return _published(
        url=f"{_AUTHORS}/{name}.tar.gz",
        file_name=f"{name}.tar.gz",
        kind="TensorFlow checkpoint",
        origin="the authors of CondConv, tensorflow/tpu",
        top_1_input_size=224,
        **facts,
    )


def _published(arguments: Mapping[str, Any] | None = None, **facts: Any) -> PublishedWeights:
    return PublishedWeights(arguments=types.MappingProxyType(arguments or {}), **facts)
