"""The temperature of routers as a function of the optimizer's step, and the callback that lets it fall."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from condconv_keras.layers.routers import routers
from condconv_keras.utils.annotations import Tensor


def inverse_temperature(step: Tensor, temperature: float, steps: float) -> Tensor:
    """Returns 1 / T for a step, a float32 scalar: it rises linearly from 1 / `temperature` to 1, and stays there.

    Args:
        step: scalar, the number of steps that the optimizer has taken before.
        temperature: positive number, T before the first step.
        steps: positive number, the steps after which T is 1.
    """
    part = ops.minimum(ops.cast(step, "float32") / max(steps, 1.0), 1.0)
    # So that the last one is 1, whatever the rounding.
    return part + (1.0 - part) / temperature


def routers_with_temperature(model: keras.Model) -> list[keras.Layer]:
    """Returns the `Routing` layers of a model that have a temperature, wherever they are nested."""
    return [router for _, router in routers(model) if router.inverse_temperature is not None]


class AnnealedTemperature(keras.callbacks.Callback):
    """Lets the temperature of a model's routers fall to 1 while `fit` trains it.

    For each router that was made with `temperature=T`, 1 / T rises linearly to 1 over the first epochs of the
    optimizer's life. It follows `optimizer.iterations`, so a model that is loaded with its optimizer goes on where it
    was, and several calls of `fit` count together. With `steps_per_execution` it changes between executions.

    Afterwards `condconv_keras.layers.fold_routing` returns the network without temperatures. `train.py` needs no
    callback: `--routing_temperature` does the same.

    Args:
        epochs: positive number, the epochs after which the temperature is 1; may be a fraction.
        steps_per_epoch: steps of an epoch, or None for what `fit` knows of its data.

    Raises:
        ValueError: `epochs` is not positive. When training begins: the model has no router with a temperature, or
            the steps of an epoch are not known.

    Examples:
        >>> model = with_routing(model, temperature=30)
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> model.fit(images, labels, epochs=20, callbacks=[AnnealedTemperature(epochs=4)])
    """

    def __init__(self, epochs: float = 4.0, steps_per_epoch: int | None = None) -> None:
        super().__init__()
        if not epochs > 0:
            raise ValueError(f"`epochs` must be positive. Received: epochs={epochs!r}")
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self._routers: list[Any] = []
        self._steps = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._routers = routers_with_temperature(self.model)
        if not self._routers:
            raise ValueError(
                "AnnealedTemperature is for a model whose routers have a temperature: make them with "
                f"`temperature`, or the model by `with_routing`. Received: {self.model.name!r}"
            )
        steps = self.steps_per_epoch or self.params["steps"]
        if steps is None:
            raise ValueError("`steps_per_epoch` must be given where `fit` does not know it. Received: None")
        self._steps = self.epochs * steps

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._routers:
            return
        # On JAX the variables are current, and a change of them is seen, after that.
        getattr(self.model, "jax_state_sync", lambda: None)()
        step = int(self.model.optimizer.iterations)
        for router in self._routers:
            router.inverse_temperature.assign(inverse_temperature(step, router.options.temperature, self._steps))
        if step >= self._steps:
            self._routers = []
