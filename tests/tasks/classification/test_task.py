import pytest

from condconv_keras.data import open_dataset
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError
from tests.data.splits import write_classes


def test_one_class_alone_cannot_be_learned(tmp_path):
    write_classes(tmp_path, {"cat": 3})
    task = get_task("classification")
    with pytest.raises(UserError, match=f"expected two classes or more in '{tmp_path}', received 'cat' alone"):
        task.check_training_data(open_dataset(str(tmp_path)))
    write_classes(tmp_path, {"dog": 3})
    task.check_training_data(open_dataset(str(tmp_path)))
