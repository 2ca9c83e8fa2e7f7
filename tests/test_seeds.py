import keras
import numpy as np
import tensorflow as tf

from tests.seeds import set_seed


def test_it_seeds_as_keras_does_and_leaves_what_tensorflow_has_compiled(monkeypatch):
    tf.random.set_seed(5)  # as a test may leave it
    given, seed_of_tensorflow = [], tf.random.set_seed
    monkeypatch.setattr(tf.random, "set_seed", lambda seed: given.append(seed) or seed_of_tensorflow(seed))
    drawn = []
    for seed_with in (set_seed, set_seed, keras.utils.set_random_seed):
        seed_with(3)
        values = [keras.initializers.GlorotUniform()((4, 5)), keras.random.normal((6,)), np.random.uniform(size=7)]
        drawn.append(np.concatenate([np.ravel(value) for value in values]))
    np.testing.assert_array_equal(drawn[1], drawn[0])
    np.testing.assert_array_equal(drawn[2], drawn[0])
    # Once, for the seed that it found, and once by Keras.
    assert given == [0, 3]
