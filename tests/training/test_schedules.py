import keras
import numpy as np
import pytest

from condconv_keras.training.schedules import WarmupSchedule


def _values(schedule, steps):
    return [float(schedule(keras.ops.convert_to_tensor(step, "int64"))) for step in steps]


def test_cosine_with_warmup():
    schedule = WarmupSchedule(0.4, "cosine", warmup_steps=10, total_steps=110)
    expected = [0.0, 0.04, 0.36, 0.4, 0.4 * (1 + np.cos(np.pi * 0.25)) / 2, 0.2, 0.0, 0.0]
    np.testing.assert_allclose(_values(schedule, [0, 1, 9, 10, 35, 60, 110, 200]), expected, atol=1e-7)


def test_exponential_with_warmup_is_the_mobilenet_recipe():
    schedule = WarmupSchedule(1.6, "exponential", warmup_steps=100, total_steps=1000, decay_rate=0.975, decay_steps=10)
    expected = [0.0, 0.8, 1.6, 1.6 * 0.975, 1.6 * 0.975**2.5]
    np.testing.assert_allclose(_values(schedule, [0, 50, 100, 110, 125]), expected, rtol=1e-6)


def test_staircase_counts_from_the_start_as_the_efficientnet_recipe_does():
    schedule = WarmupSchedule(0.128, "staircase", warmup_steps=50, total_steps=3500, decay_rate=0.97, decay_steps=24)
    expected = [0.0, 0.064, 0.128 * 0.97**2, 0.128 * 0.97**2, 0.128 * 0.97**3, 0.128 * 0.97**10]
    np.testing.assert_allclose(_values(schedule, [0, 25, 50, 71, 72, 240]), expected, rtol=1e-6)


def test_a_warmup_may_start_above_zero():
    schedule = WarmupSchedule(0.9, "cosine", warmup_steps=1000, total_steps=20000, warmup_start=1 / 3)
    np.testing.assert_allclose(_values(schedule, [0, 500, 1000, 10500]), [0.3, 0.6, 0.9, 0.45], rtol=1e-6)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert _values(copy, [500]) == _values(schedule, [500])


def test_no_warmup_starts_at_the_peak():
    schedule = WarmupSchedule(0.1, "cosine", warmup_steps=0, total_steps=10)
    assert _values(schedule, [0]) == [pytest.approx(0.1)]


@pytest.mark.parametrize("kind", ["exponential", "staircase"])
def test_config_round_trip(kind):
    schedule = WarmupSchedule(0.1, kind, 3, 10, 0.9, 2)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert _values(copy, range(10)) == _values(schedule, range(10))


def test_unknown_schedule():
    with pytest.raises(ValueError, match="Received: schedule='linear'"):
        WarmupSchedule(0.1, "linear", 0, 1)
