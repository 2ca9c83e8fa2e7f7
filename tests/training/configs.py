"""The configuration of a run, with the authors' routers, for the tests that train nothing."""

import dataclasses

from condconv_keras.training.config import TrainConfig
from condconv_keras.training.recipes import get_recipe

CONFIG = TrainConfig(
    model="condconv_mobilenet_v1",
    model_arguments={"num_experts": 4},
    dataset="digits",
    data_dir=None,
    validation_fraction=0.2,
    skip_bad_images=False,
    recipe_name="digits",
    recipe=dataclasses.replace(get_recipe("digits"), router_scale=1.0, router_learning_rate=1.0),
    precision="float32",
    seed=0,
    weights=None,
)
