"""The two photographs that scikit-learn ships: real images where there is no data."""

import numpy as np

from condconv_keras.utils.lazy import LazyModule, require

datasets = LazyModule("sklearn.datasets")


def photographs(rows=2, columns=4):
    """Yields rows x columns square windows of each of scikit-learn's two photographs, uint8 [213, 213, 3]."""
    require("sklearn", "PIL")  # scikit-learn reads them with Pillow
    for photograph in datasets.load_sample_images().images:
        side = photograph.shape[0] // 2
        for top in np.linspace(0, photograph.shape[0] - side, rows).astype(int):
            for left in np.linspace(0, photograph.shape[1] - side, columns).astype(int):
                yield photograph[top : top + side, left : left + side]
