"""JAX compiles every setting of the grid anew: without XLA's optimizations that takes half the time."""

import keras

if keras.backend.backend() == "jax":
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
