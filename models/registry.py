"""The models by name: how to build each, how to feed it, how it is trained, and what the paper reports for it.

This module imports no Keras backend; `create_model` imports the builder of the model that it makes.
"""

import dataclasses
import fnmatch
import importlib
import inspect
import types
from collections.abc import Mapping

from condconv_keras.errors import unknown_name
from models.placement import CondConvPlacement


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """What a registered model needs to be built and used right.

    Attributes:
        name: registry name.
        builder: `"module:function"`, imported when a model is created.
        recipe: name of the training recipe.
        input_offset, input_scale: the network is fed `(x - input_offset) / input_scale` for pixels x in [0, 255].
        placement: the paper's CondConv layers, or None for a plain model.
        arguments: further builder arguments that differ from the builder's defaults.
        input_size: height and width of the input in pixels.
        channels: channels of the input.
        crop_fraction: side of the evaluation's centre crop, as a fraction of the image's shorter side.
        interpolation: `"bicubic"` or `"bilinear"`, how images are resized.
        paper_multiply_adds: the paper's multiply-adds for one image, in millions, or None.
        paper_top_1: the paper's ImageNet top-1 accuracy in percent, or None. Measured by the paper's authors.
    """

    name: str
    builder: str
    recipe: str
    input_offset: float
    input_scale: float
    placement: CondConvPlacement | None = None
    arguments: Mapping = dataclasses.field(default_factory=lambda: types.MappingProxyType({}))
    input_size: int = 224
    channels: int = 3
    crop_fraction: float = 0.875
    interpolation: str = "bicubic"
    paper_multiply_adds: float | None = None
    paper_top_1: float | None = None

    def default_input_shape(self, data_format):
        """Shape of one input image, without the batch axis."""
        size = (self.input_size, self.input_size)
        return (self.channels, *size) if data_format == "channels_first" else (*size, self.channels)


_MOBILENET_V1 = ModelEntry(
    name="mobilenet_v1",
    builder="models.mobilenet_v1:mobilenet_v1",
    recipe="mobilenet",
    input_offset=127.5,
    input_scale=127.5,
    arguments=types.MappingProxyType({"bn_momentum": 0.9}),
    paper_multiply_adds=567,
    paper_top_1=71.9,
)


def _twin(plain, placement, **paper):
    return dataclasses.replace(plain, name=f"condconv_{plain.name}", placement=placement, **paper)


_ENTRIES = {
    entry.name: entry
    for entry in (
        _MOBILENET_V1,
        _twin(
            _MOBILENET_V1,
            CondConvPlacement(num_experts=8, start_block=6, condconv_classifier=True),
            paper_multiply_adds=600,
            paper_top_1=73.7,
        ),
    )
}


def list_models(pattern="*"):
    """Returns the sorted names that match a shell pattern, as in `"condconv_*"`."""
    return sorted(fnmatch.filter(_ENTRIES, pattern))


def model_entry(name):
    """Returns the `ModelEntry` of a registered model; raises `UserError` for an unknown name."""
    if name not in _ENTRIES:
        raise unknown_name("model", name, _ENTRIES)
    return _ENTRIES[name]


def create_model(name, **kwargs):
    """Builds a registered model.

    Args:
        name: registry name; `list_models()` lists them.
        **kwargs: arguments of the model's builder (`models/<family>.py`), such as `input_shape`, `classes`,
            `include_top`, `pooling`, `weights`. Of a `condconv_` model also the fields of `CondConvPlacement`:
            `num_experts`, `start_block`, `condconv_classifier`. What is not given is the registered setting.

    Returns:
        A functional Keras model named `name`.

    Raises:
        UserError: unknown name, or a weights file that is missing or does not fit.
        TypeError: unknown keyword.
        ValueError: a value out of range.

    Example:

    >>> model = create_model("condconv_mobilenet_v1", num_experts=4, width_multiplier=0.5, input_shape=(96, 96, 3))
    """
    entry = model_entry(name)
    module, function = entry.builder.split(":")
    builder = getattr(importlib.import_module(module), function)
    placement_fields = [field.name for field in dataclasses.fields(entry.placement)] if entry.placement else []
    builder_arguments = [p for p in inspect.signature(builder).parameters if p not in ("placement", "name")]
    _check_keywords(name, kwargs, accepted=[*builder_arguments, *placement_fields])

    import keras

    arguments = {
        "input_shape": entry.default_input_shape(keras.config.image_data_format()),
        **entry.arguments,
        **{key: value for key, value in kwargs.items() if key in builder_arguments},
    }
    placement = entry.placement
    if placement is not None:
        placement = dataclasses.replace(placement, **{k: v for k, v in kwargs.items() if k in placement_fields})
    return builder(placement=placement, name=name, **arguments)


def _check_keywords(name, kwargs, accepted):
    for keyword in kwargs:
        if keyword not in accepted:
            raise TypeError(
                f"create_model({name!r}) got an unexpected keyword argument {keyword!r}. "
                f"Accepted: {', '.join(sorted(accepted))}."
            )
