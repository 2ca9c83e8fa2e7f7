import errno

import keras
import numpy as np
import pytest
import safetensors

from condconv_keras.training import checkpoints
from condconv_keras.training.checkpoints import Checkpoints, NotFinite
from condconv_keras.utils.errors import UserError
from tests.training import networks


def variables():
    return {"a": keras.Variable([[1.0, 2.0]]), "b": keras.Variable([3, 4], dtype="uint32", trainable=False)}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def saved(folder, *steps):
    store, state = Checkpoints(folder), variables()
    for step in steps:
        state["a"].assign([[step, step + 0.5]])
        store.save(checkpoints.take(step, state))
    return store


def test_the_newest_comes_back_and_two_are_kept(tmp_path):
    store = saved(tmp_path, 5, 10, 20)
    assert names(tmp_path) == ["step_0000000010.safetensors", "step_0000000020.safetensors"]
    state = variables()
    checkpoint = store.newest(state)
    assert checkpoint.step == 20
    checkpoints.restore(checkpoint, state)
    np.testing.assert_array_equal(state["a"].numpy(), [[20, 20.5]])
    np.testing.assert_array_equal(state["b"].numpy(), [3, 4])


def test_no_checkpoint(tmp_path):
    assert Checkpoints(tmp_path / "none").newest(variables()) is None
    assert not Checkpoints(tmp_path / "none").exist()


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_one_is_passed_over(tmp_path, capsys, kept):
    store = saved(tmp_path, 10, 20)
    newest = tmp_path / "step_0000000020.safetensors"
    newest.write_bytes(newest.read_bytes()[:kept])
    assert store.newest(variables()).step == 10
    assert "passing over the checkpoint" in capsys.readouterr().err
    (tmp_path / "step_0000000010.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"no checkpoint in .* is whole"):
        store.newest(variables())


def test_a_damaged_one_takes_no_place_of_a_whole_one(tmp_path):
    saved(tmp_path, 10)
    (tmp_path / "step_0000000023.safetensors").write_bytes(b"\x08" + 7 * b"\x00" + b"{}      ")  # without metadata
    store = Checkpoints(tmp_path)
    assert store.newest(variables()).step == 10
    store.save(checkpoints.take(20, variables()))
    assert names(tmp_path) == ["step_0000000010.safetensors", "step_0000000020.safetensors"]


def test_one_of_other_variables_is_passed_over(tmp_path):
    store = saved(tmp_path, 10)
    with pytest.raises(UserError, match="it holds other variables"):
        store.newest({"a": variables()["a"]})
    with pytest.raises(UserError, match=r"a has the shape \(1, 2\), expected \(3,\)"):
        store.newest({**variables(), "a": keras.Variable([1.0, 2.0, 3.0])})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_no_checkpoint(value):
    state = variables()
    state["a"].assign([[1.0, value]])
    with pytest.raises(NotFinite, match="a is not finite"):
        checkpoints.take(11, state)


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    store = saved(tmp_path, 10)

    def full(values, path, metadata):
        path.write_bytes(b"half")
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(checkpoints.take(20, variables()))
    assert names(tmp_path) == ["step_0000000010.safetensors"]
    monkeypatch.setattr(safetensors.numpy, "save_file", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC)))
    with pytest.raises(OSError, match=str(errno.ENOSPC)):
        store.save(checkpoints.take(20, variables()))
    assert names(tmp_path) == ["step_0000000010.safetensors"]


def test_the_state_of_a_model_is_all_that_its_steps_change(tmp_path):
    """Three steps from a state that was stored after two are steps three to five."""
    recipe = networks.recipe(momentum=0.9, ema_decay=0.9, warmup_epochs=1)
    batches = networks.batches(5)
    model = networks.training_model(networks.network(dropout_rate=0.5), recipe)
    store = Checkpoints(tmp_path)
    for number, batch in enumerate(batches):
        if number == 2:
            store.save(checkpoints.take(2, checkpoints.state_of(model)))
        logs = model.train_step(batch)
    other = networks.training_model(networks.network(dropout_rate=0.5), recipe)
    for batch in networks.batches(3, seed=9):
        other.train_step(batch)
    state = checkpoints.state_of(other)
    checkpoints.restore(store.newest(state), state)
    for batch in batches[2:]:
        other_logs = other.train_step(batch)
    assert {k: float(v) for k, v in other_logs.items()} == {k: float(v) for k, v in logs.items()}
    for a, b in zip(checkpoints.state_of(model).values(), state.values(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
