"""The settings of docs/when-experts-pay.md, by name."""

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
    }
)
