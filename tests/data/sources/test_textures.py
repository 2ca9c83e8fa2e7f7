import numpy as np

from condconv_keras.data.sources.textures import random_texture


def test_canvases_depend_on_the_generator_alone_and_are_varied():
    textures = [random_texture(60, np.random.default_rng(seed)) for seed in range(40)]
    for seed, texture in enumerate(textures):
        assert (texture.shape, texture.dtype) == ((60, 60, 3), np.float32)
        assert texture.min() >= 0 and texture.max() <= 255
        np.testing.assert_array_equal(texture, random_texture(60, np.random.default_rng(seed)))
    assert len({texture.tobytes() for texture in textures}) == 40
    assert np.mean([texture.std() > 5 for texture in textures]) > 0.9
    means = [texture.mean() for texture in textures]
    assert min(means) < 70 and max(means) > 150
