"""Where the published ImageNet weights of each registered model are, and what is known of them.

A hash, a licence or an accuracy stands here only if a public page gives it. Accuracies are the publisher's, measured
with the publisher's preprocessing: of timm's files results/results-imagenet.csv of pytorch-image-models, of the
CondConv files that timm ported its table of TensorFlow preprocessing, of keras.applications the table on keras.io, of
the authors' archives the README of their code. Importing this module imports no Keras backend.
"""

import types

from condconv_keras.utils.errors import UserError
from condconv_keras.weights.download import PublishedWeights

_AUTHORS = "https://storage.googleapis.com/cloud-tpu-checkpoints/efficientnet/condconv"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"


def _timm(name, **facts):
    """A checkpoint of pytorch-image-models, all of which are called model.safetensors."""
    facts = {"licence": "apache-2.0", "top_1_input_size": 224, **facts}
    return _published(
        url=f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors",
        file_name=f"{name}.safetensors",
        kind="timm checkpoint",
        origin=f"pytorch-image-models, timm/{name}",
        **facts,
    )


def _keras_applications(url, **facts):
    """A file of keras.applications, whose licence no page names."""
    return _published(
        url=url,
        file_name=url.rsplit("/", 1)[-1],
        kind="keras.applications weights",
        origin="keras.applications",
        top_1_input_size=224,
        **facts,
    )


def _authors(name, **facts):
    """An archive of the CondConv paper's authors, whose licence no page names."""
    return _published(
        url=f"{_AUTHORS}/{name}.tar.gz",
        file_name=f"{name}.tar.gz",
        kind="TensorFlow checkpoint",
        origin="the authors of CondConv, tensorflow/tpu",
        top_1_input_size=224,
        **facts,
    )


def _published(arguments=None, **facts):
    return PublishedWeights(arguments=types.MappingProxyType(arguments or {}), **facts)


def _mobilenet_v1(width, text, top_1=None):
    url = f"{_KERAS}/mobilenet/mobilenet_{text}_224_tf.h5"
    return _keras_applications(url, top_1=top_1, arguments={"width_multiplier": width})


def _mobilenet_v2(width, top_1=None):
    url = f"{_KERAS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_224.h5"
    return _keras_applications(url, top_1=top_1, arguments={"width_multiplier": width})


_CONDCONV_4E = (
    _timm("tf_efficientnet_cc_b0_4e.in1k", top_1=77.75, arguments={"num_experts": 4}),
    _authors("efficientnet-condconv-b0-4e", top_1=77.8, arguments={"num_experts": 4}),
)
_CONDCONV_8E = (
    _timm("tf_efficientnet_cc_b0_8e.in1k", top_1=78.31, arguments={"num_experts": 8}),
    _authors("efficientnet-condconv-b0-8e", top_1=78.3, arguments={"num_experts": 8}),
)

# Registry name -> the published files, the default first.
PUBLISHED_WEIGHTS = types.MappingProxyType(
    {
        "mobilenet_v1": (
            _mobilenet_v1(1.0, "1_0", top_1=70.4),
            _mobilenet_v1(0.75, "7_5"),
            _mobilenet_v1(0.5, "5_0"),
            _mobilenet_v1(0.25, "2_5"),
        ),
        "mobilenet_v2": (
            _mobilenet_v2(1.0, top_1=71.3),
            *(_mobilenet_v2(width) for width in (1.4, 1.3, 0.75, 0.5, 0.35)),
        ),
        "mnasnet_a1": (
            _timm(
                "semnasnet_100.rmsp_in1k",
                top_1=75.45,
                file_hash="af6114db10f51455c9bb5af3c1c7810aefe4e7ca16b8edeb7a52288bf1607120",
                arguments={"width_multiplier": 1.0},
            ),
        ),
        "resnet50": (
            _timm(
                "resnet50.a1_in1k",
                top_1=80.38,
                file_hash="773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb",
            ),
        ),
        "efficientnet_b0": (
            _keras_applications(
                "https://storage.googleapis.com/keras-applications/efficientnetb0.h5",
                top_1=77.1,
                file_hash="902e53a9f72be733fc0bcb005b3ebbac",
                arguments={"depth_multiplier": 1.0},
            ),
        ),
        "condconv_efficientnet_b0": _CONDCONV_8E + _CONDCONV_4E,
        "condconv_efficientnet_b0_4e": _CONDCONV_4E,
        "condconv_efficientnet_b0_depth": (
            _timm(
                "tf_efficientnet_cc_b1_8e.in1k",
                licence=None,
                top_1=79.46,
                top_1_input_size=240,
                arguments={"num_experts": 8, "depth_multiplier": 1.1},
            ),
            _authors(
                "efficientnet-condconv-b0-8e-depth",
                top_1=79.5,
                arguments={"num_experts": 8, "depth_multiplier": 1.1},
            ),
        ),
        "efficientnet_lite0": (
            _timm(
                "tf_efficientnet_lite0.in1k",
                top_1=74.83,
                file_hash="1b2a452450b5cf3f8f42da5b6214e71d5fda5666bef4dfae0699407e5bef13e1",
                arguments={"width_multiplier": 1.0, "depth_multiplier": 1.0},
            ),
        ),
        "efficientnet_lite1": (
            _timm(
                "tf_efficientnet_lite1.in1k",
                top_1=76.64,
                top_1_input_size=240,
                arguments={"width_multiplier": 1.0, "depth_multiplier": 1.1},
            ),
        ),
        "efficientnet_lite2": (
            _timm(
                "tf_efficientnet_lite2.in1k",
                top_1=77.46,
                top_1_input_size=260,
                arguments={"width_multiplier": 1.1, "depth_multiplier": 1.2},
            ),
        ),
    }
)


def published_weights(name, arguments):
    """Returns the first `PublishedWeights` of a model that agree with the arguments it is created with.

    Args:
        name: registry name.
        arguments: mapping of the `create_model` arguments that were given; what is not given agrees with anything.

    Raises:
        UserError: there are none.
    """
    candidates = PUBLISHED_WEIGHTS.get(name, ())
    for published in candidates:
        if all(arguments.get(key, value) == value for key, value in published.arguments.items()):
            return published
    if not candidates:
        plain = name.removeprefix("condconv_")
        hint = (
            f"; `train.py --weights=imagenet` starts it from those of {plain!r}" if plain in PUBLISHED_WEIGHTS else ""
        )
        raise UserError(
            f"no ImageNet weights are published for the model {name!r}{hint}; there are for "
            f"{', '.join(PUBLISHED_WEIGHTS)}"
        )
    keys = sorted({key for published in candidates for key in published.arguments})
    choices = ", ".join(dict.fromkeys(_text(published.arguments) for published in candidates))
    received = _text({key: arguments[key] for key in keys if key in arguments})
    raise UserError(f"ImageNet weights of the model {name!r} are published for {choices}. Received: {received}")


def _text(arguments):
    return " ".join(f"{key}={value}" for key, value in arguments.items())
