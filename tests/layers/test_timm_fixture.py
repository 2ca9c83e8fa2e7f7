"""Values and gradients of timm's CondConv2d (tests/fixtures/README.md), for every form."""

import json
from pathlib import Path

import numpy as np
import pytest

from condconv_keras.layers.forms import selection
from tests import oracle
from tests.layers.backends import outputs_and_gradients
from tests.layers.cases import Case, build_layer, set_experts
from tests.layers.test_forms import computes

with np.load(Path(__file__).parents[1] / "fixtures" / "condconv2d_layer.npz") as archive:
    FIXTURE = dict(archive)
META = json.loads(str(FIXTURE["meta"]))


def case_of(meta):
    """The layer setting of a fixture case; symmetric padding is the test's own, followed by a valid window."""
    depthwise = meta["groups"] == meta["in_channels"]
    return Case(
        kernel=(meta["kernel"],) * 2,
        strides=(meta["stride"],) * 2,
        padding="same" if meta["padding"] == "same" else "valid",
        dilation=(meta["dilation"],) * 2,
        channels=meta["in_channels"],
        features=1 if depthwise else meta["out_channels"],
        groups=1 if depthwise else meta["groups"],
        depthwise=depthwise,
        bias=meta["bias"],
        experts=meta["num_experts"],
        batch=3,
    )


FORMS = [
    pytest.param(name, form, id=f"{name}-{form}")
    for name, meta in META.items()
    for form in selection.implementations(case_of(meta).depthwise)
    if computes(form, case_of(meta))
]


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_form_computes_what_timm_does(name, form):
    case, meta = case_of(META[name]), META[name]
    fields = {key.split(".")[1]: value for key, value in FIXTURE.items() if key.startswith(f"{name}.")}
    margin = ((meta["stride"] - 1) + meta["dilation"] * (meta["kernel"] - 1)) // 2
    margin = margin if meta["padding"] == "symmetric" else 0
    x = np.pad(fields["x"], [(0, 0), (margin, margin), (margin, margin), (0, 0)])
    # timm has (1, channels) where the Keras depthwise kernel has (channels, 1).
    axes = (0, 1, 2, 4, 3) if case.depthwise else (0, 1, 2, 3, 4)
    experts = fields["experts"].transpose(axes)
    layer = build_layer(case, form)
    layer.build(x.shape, fields["routing"].shape)
    set_experts(layer, experts, fields.get("bias"))
    y, (dx, drouting), variables = outputs_and_gradients(layer, (x, fields["routing"]), fields["g"])
    height, width = fields["x"].shape[1:3]
    assert oracle.relative_error(y, fields["y"]) < 1e-5
    assert oracle.relative_error(dx[:, margin : margin + height, margin : margin + width], fields["dx"]) < 1e-4
    assert oracle.relative_error(drouting, fields["drouting"]) < 1e-4
    assert oracle.relative_error(variables[0].reshape(experts.shape).transpose(axes), fields["dexperts"]) < 1e-4
    if case.bias:
        assert oracle.relative_error(variables[1], fields["dbias"]) < 1e-4
