import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.layers.routers import recorded_routing, routers


def _images():
    return np.random.default_rng(0).standard_normal((3, 8, 8, 4)).astype("float32")


def test_the_names_follow_the_order_of_the_calls():
    own = CondConv2D(4, 1, num_experts=3, name="own", kernel_initializer="he_normal")
    shared = Routing(2, name="shared", kernel_initializer="random_normal")
    inner = keras.Sequential([keras.Input((8, 8, 4)), DepthwiseCondConv2D(1, 2, name="shared_2")], name="inner")

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.last, self.shared, self.inner, self.own = (
                CondConv2D(2, 1, num_experts=2, name="last"),
                shared,
                inner,
                own,
            )

        def call(self, x):
            x = self.own(x)
            y = self.own(self.inner(x))
            return self.last(x + y, self.shared(x) + self.shared(y))

    model, x = Model(), _images()
    expected = np.asarray(model(x))
    assert sorted(name for name, _ in routers(model)) == ["own", "shared", "shared_2"]
    with recorded_routing(model) as calls:
        np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    # The inner layer came first and keeps its name.
    assert [name for name, _ in calls] == ["own", "shared_2", "own_2", "shared", "shared_3"]
    y = own(x)
    values = [own.router(x), inner.layers[0].router(y), own.router(inner(y)), shared(y), shared(own(inner(y)))]
    for (name, received), value in zip(calls, values, strict=True):
        np.testing.assert_allclose(received, value, rtol=1e-5, atol=1e-6, err_msg=name)
    # The model is as it was, and is recorded afresh.
    assert all("call" not in vars(router) for _, router in routers(model))
    with recorded_routing(model) as again:
        model(x)
    assert [name for name, _ in again] == [name for name, _ in calls]


@pytest.mark.parametrize("plain", [keras.layers.Conv2D(2, 1), keras.Sequential([keras.layers.Flatten()])])
def test_what_routes_nothing(plain):
    assert routers(plain) == []
    with recorded_routing(plain) as calls:
        plain(_images())
    assert calls == []
