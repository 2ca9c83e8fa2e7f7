"""The settings of docs/when-experts-pay.md and of `make demo`, by name."""

import types

from condconv_keras.experiments.gain.settings import PLAIN, TWIN, Setting

_FASHION_MNIST = {"dataset": "fashion_mnist", "maker": ("-m", "scripts.fashion_mnist")}

SETTINGS = types.MappingProxyType(
    {
        "separable_fashion_mnist": Setting(
            **_FASHION_MNIST,
            common="--epochs=12 --warmup_epochs=0.5 --weight_decay=0 --label_smoothing=0 --learning_rate=0.4",
            sides={PLAIN: "--model=separable_cnn", TWIN: "--model=condconv_separable_cnn"},
        ),
        # docs/results/demo/tuning.csv has what was tried.
        "digits": Setting(
            dataset="digits",
            maker=None,
            common="--width_multiplier=0.25 --input_size=32 --epochs=30 --weight_decay=0 --label_smoothing=0",
            sides={
                PLAIN: "--model=separable_cnn --learning_rate=0.4",
                TWIN: "--model=condconv_separable_cnn --learning_rate=0.4 --router_scale=0 --router_learning_rate=0.1",
            },
        ),
    }
)
