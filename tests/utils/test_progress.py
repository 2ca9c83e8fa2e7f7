from condconv_keras.utils import progress


def test_without_tqdm_it_is_what_it_was_given(monkeypatch):
    monkeypatch.setattr(progress, "tqdm", None)
    items = [1, 2]
    assert progress.progress(items, unit="model") is items


def test_with_tqdm_the_items_pass_a_bar_with_its_options(capsys):
    assert list(progress.progress([1, 2, 3], unit="model", disable=False, mininterval=0)) == [1, 2, 3]
    shown = capsys.readouterr()
    assert "3/3" in shown.err and "model/s" in shown.err
    assert shown.out == ""


def test_there_is_no_bar_where_nobody_looks(capsys):
    assert list(progress.progress([1, 2])) == [1, 2]
    assert capsys.readouterr().err == ""
