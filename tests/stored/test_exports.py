import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.stored.exports import SavedModel


class _Model(tf.Module):
    def __init__(self):
        super().__init__()
        self.factors = tf.Variable([1.0, 2.0])

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="images")])
    def times(self, images):
        return {"products": self.factors * images}


@pytest.mark.parametrize("name", ["run [2]", "back\\slash", "a*b {c,d}?"])
def test_a_saved_model_in_a_folder_whose_name_looks_like_a_pattern(name, tmp_path, monkeypatch):
    model = _Model()
    tf.saved_model.save(model, str(tmp_path / name), signatures={"serving_default": model.times})
    monkeypatch.setattr(SavedModel, "card", None)
    monkeypatch.chdir(tmp_path)
    loaded, _ = SavedModel(name).load()
    products = loaded.signatures["serving_default"](images=tf.constant(3.0))["products"]
    np.testing.assert_array_equal(products, [3.0, 6.0])
