"""SSD on MobileNetV1, a single-shot detector, and its CondConv twin."""

import functools

from condconv_keras.facts.anchors import SSD_MOBILENET_V1
from condconv_keras.facts.model_card import DetectorCard
from condconv_keras.models.blocks import LayerFactory
from condconv_keras.models.classifier import image_input
from condconv_keras.models.entry import ModelEntry, PaperFigures
from condconv_keras.models.families.mobilenet_v1 import mobilenet_v1_features, stage_sizes
from condconv_keras.models.placement import CondConvPlacement
from condconv_keras.utils.lazy import keras

_PARTS = ("condconv_predictors",)
_MINIMUM_SIZE = 96
_MINIMUM_FILTERS = 16
_EXTRA_FILTERS = (512, 256, 256, 128)
_EXTRA_DEVIATION = 0.03
_HEAD_DEVIATION = 0.01
# A score, the sigmoid of a logit, starts at 0.01: the focal loss of the many anchors without an object starts low.
_CLASS_BIAS = -4.6
# What only a classifier has, and its default.
_CLASSIFIER_OPTIONS = {"include_top": True, "pooling": None, "classifier_activation": None, "dropout_rate": 0.0}


def ssd300_mobilenet_v1(options, *, width_multiplier=1.0):
    """SSD on MobileNetV1, plain or with CondConv layers.

    Predictions are made from six feature maps: the backbone's last ones at stride 16 and 32, and those of four extra
    stages of a 1x1 convolution and a 3x3 convolution of stride 2. The backbone's layers have the names that they have
    in `mobilenet_v1`. Layers of extra stage N: `extra_N_routing`, `extra_N_project`, `extra_N` and their `_bn`,
    `_activation`; of the predictors of map N: `heads_N_routing`, `box_head_N`, `class_head_N`.

    Args:
        options: `NetworkOptions`, those of a classifier at their defaults. Height and width of the input are known and
            at least 96. A placement covers the 13 separable blocks (stages of 1, 2, 2, 6, 2) and the predictors; the
            eight extra convolutions of a twin are CondConv layers in any case.
        width_multiplier: positive float, scales every channel count: in the backbone as in `mobilenet_v1`, in the extra
            stages to `max(int(count * width_multiplier), 16)`.

    Returns:
        A functional Keras model. Its output is a dict of float32 tensors: `"box_codes"` [batch, anchors, 4], a box as
        (ty, tx, th, tw) relative to its anchor, and `"class_logits"` [batch, anchors, 1 + classes], the background
        first. `condconv_keras.facts.anchors` has the anchors, 1,917 at 300x300, and `condconv_keras.tasks.detection`
        decodes the boxes.

    Raises:
        ValueError: a value out of range, an option of a classifier.

    Reference:
        - [SSD](https://arxiv.org/abs/1512.02325)
        - [CondConv](https://arxiv.org/abs/1904.04971), section 4.2
        - `ssd_mobilenet_v1_feature_extractor.py` of the Object Detection API, tensorflow/models
    """
    _check_options(options)
    factory = LayerFactory.of(options, activation="relu6", stage_sizes=stage_sizes(), parts=_PARTS)
    inputs = image_input(options.input_shape, _MINIMUM_SIZE, is_fixed=True)
    maps = _feature_maps(inputs, factory, width_multiplier)
    return keras.Model(inputs, _predictions(maps, factory, options.classes), name=options.name)


def _check_options(options):
    for name, default in _CLASSIFIER_OPTIONS.items():
        value = getattr(options, name)
        if value != default:
            raise ValueError(
                f"`{name}` must be {default}: {options.name} has no classifier. Received: {name}={value!r}"
            )


def _feature_maps(inputs, factory, width_multiplier):
    """The six feature maps, finest first."""
    x = mobilenet_v1_features(inputs, factory, width_multiplier)
    maps = [keras.Model(inputs, x).get_layer("stride_16").output, x]
    for number, filters in enumerate(_EXTRA_FILTERS, start=1):
        projected, expanded = (
            max(int(count * width_multiplier), _MINIMUM_FILTERS) for count in (filters // 2, filters)
        )
        maps.append(_extra_stage(maps[-1], projected, expanded, number, factory))
    return maps


def _extra_stage(x, projected, expanded, number, factory):
    """A 1x1 convolution and a 3x3 of stride 2, both fed by one router: a stage is a block (CondConv, section 3.1)."""
    routing, name = factory.extra_routing(x, number), f"extra_{number}"
    for filters, size, strides, layer in ((projected, 1, 1, f"{name}_project"), (expanded, 3, 2, name)):
        initializer = keras.initializers.TruncatedNormal(stddev=_EXTRA_DEVIATION)
        options = {"strides": strides, "routing": routing, "kernel_initializer": initializer}
        x = factory.conv_norm_act(x, filters, size, name=layer, **options)
    return x


def _predictions(maps, factory, classes):
    """The network's output from the feature maps."""
    box_codes, class_logits = [], []
    for number, (x, anchors) in enumerate(zip(maps, SSD_MOBILENET_V1.per_location, strict=True), start=1):
        routing = factory.predictors_routing(x, number)
        box_codes.append(_head(x, anchors, 4, 0.0, routing, factory, name=f"box_head_{number}"))
        class_logits.append(_head(x, anchors, 1 + classes, _CLASS_BIAS, routing, factory, name=f"class_head_{number}"))
    # float32 also under a mixed precision policy: a sigmoid or a loss of 16-bit logits is too coarse.
    return {
        name: keras.layers.Concatenate(axis=1, dtype="float32", name=name)(rows)
        for name, rows in (("box_codes", box_codes), ("class_logits", class_logits))
    }


def _head(x, anchors, size, bias, routing, factory, *, name):
    """A predictor of `size` values for each of a location's anchors: [batch, height * width * anchors, size]."""
    bias_scale, kernel_scale = (1.0, 1.0) if routing is None else _expert_scales(factory.placement)
    x = factory.conv(
        x,
        anchors * size,
        1,
        name=name,
        routing=routing,
        use_bias=True,
        kernel_initializer=keras.initializers.RandomNormal(stddev=_HEAD_DEVIATION * kernel_scale),
        bias_initializer=keras.initializers.Constant(bias * bias_scale),
    )
    if keras.config.image_data_format() == "channels_first":
        x = keras.layers.Permute((2, 3, 1), name=f"{name}_channels_last")(x)
    return keras.layers.Reshape((-1, size), name=f"{name}_rows")(x)


def _expert_scales(placement):
    """Factors of an expert's initial bias and kernel that start a CondConv predictor like a plain one.

    At the start all routing weights are near some w (1/2, of a softmax 1/n), so n experts have n w times the bias of
    one and n w² times the variance of its kernel, and no batch normalization follows that would undo it.
    """
    experts = placement.num_experts
    weight = 1 / 2 if placement.routing_activation == "sigmoid" else 1 / experts
    return 1 / (experts * weight), 1 / (experts**0.5 * weight)


_figures = functools.partial(PaperFigures, metric="map")
_SSD300_MOBILENET_V1 = ModelEntry(
    name="ssd300_mobilenet_v1",
    card=DetectorCard,
    summary="SSD on MobileNetV1: a single-shot detector with 1,917 anchors at 300x300",
    reference="https://arxiv.org/abs/1512.02325",
    builder=ssd300_mobilenet_v1,
    stages=stage_sizes,
    parts=_PARTS,
    always_conditional=("extra feature layers",),
    dataset="coco/2014",
    recipe="ssd",
    arguments={"classes": 90, "bn_momentum": 0.97},
    input_size=300,
    crop_fraction=1.0,
    interpolation="bilinear",
    backbone="mobilenet_v1",
    card_fields={"anchors": SSD_MOBILENET_V1},
    paper=(_figures(1230, 20.3, 1.0), _figures(730, 18.2, 0.75), _figures(352, 14.4, 0.5)),
)
ENTRIES = (
    _SSD300_MOBILENET_V1,
    _SSD300_MOBILENET_V1.twin(
        CondConvPlacement(num_experts=8, start_block=6),
        paper=(_figures(1280, 22.4, 1.0), _figures(755, 21.0, 0.75), _figures(363, 18.0, 0.5)),
    ),
)
