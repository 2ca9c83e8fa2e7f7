import pytest

from condconv_keras.data.prepared import has_only_left_overs, prepared_splits
from condconv_keras.utils.errors import UserError


def _prepare(folder, text):
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(text)


def test_the_splits_of_the_last_version_that_is_whole(tmp_path):
    assert prepared_splits(tmp_path, "some") is None
    (tmp_path / "some").mkdir()
    assert prepared_splits(tmp_path, "some") is None and has_only_left_overs(tmp_path / "some")
    _prepare(tmp_path / "some/incomplete.X1_2.0.0", '{"splits": [{"name": "train"}]}')
    assert prepared_splits(tmp_path, "some") is None and has_only_left_overs(tmp_path / "some")
    _prepare(tmp_path / "some/1.0.0", '{"splits": [{"name": "train"}]}')
    _prepare(tmp_path / "some/1.1.0", '{"splits": [{"name": "train"}, {"name": "test"}]}')
    assert prepared_splits(tmp_path, "some") == ("train", "test")
    assert not has_only_left_overs(tmp_path / "some")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"splits": [1]}'])
def test_a_damaged_file_is_one_line(tmp_path, text):
    _prepare(tmp_path / "some/1.0.0", text)
    with pytest.raises(UserError, match=r"expected the splits of a data set in .*dataset_info.json' \("):
        prepared_splits(tmp_path, "some")
