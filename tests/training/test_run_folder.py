import dataclasses
import json
import os

import pytest

from condconv_keras.training.config import TrainConfig
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError
from tests.training.configs import CONFIG


def test_config_round_trip():
    assert TrainConfig.from_json(CONFIG.to_json()) == CONFIG


def test_differences_name_the_fields():
    other = dataclasses.replace(
        CONFIG, seed=1, model_arguments={}, recipe=dataclasses.replace(CONFIG.recipe, epochs=CONFIG.recipe.epochs + 1)
    )
    assert CONFIG.differences(other) == ["model_arguments.num_experts", "recipe.epochs", "seed"]
    assert CONFIG.differences(CONFIG) == []


def test_a_run_of_the_same_configuration_goes_on_another_is_refused(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.check(CONFIG)
    run.start(CONFIG)
    run.check(CONFIG)
    assert run.read_config() == CONFIG
    with pytest.raises(UserError, match=r"another configuration \(different: seed\)"):
        run.check(dataclasses.replace(CONFIG, seed=1))


def longer(config, epochs=1):
    return dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, epochs=config.recipe.epochs + epochs))


def test_a_run_goes_on_with_more_epochs_and_remembers_where(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start(CONFIG)
    run.check(longer(CONFIG))
    with pytest.raises(UserError, match=r"different: recipe\.epochs, seed"):
        run.check(dataclasses.replace(longer(CONFIG), seed=1))
    # Nothing was trained yet.
    assert run.start(longer(CONFIG)).extensions == []
    epochs = CONFIG.recipe.epochs
    run.start(longer(CONFIG, 2), step=30)
    # An interruption is no extension.
    assert run.start(longer(CONFIG, 2), step=35).extensions == [[30, epochs + 1]]
    run.start(longer(CONFIG, 5), step=50)
    assert run.read_config().extensions == [[30, epochs + 1], [50, epochs + 2]]
    with pytest.raises(UserError, match=r"different: recipe\.epochs\)"):
        run.check(CONFIG)


def test_results_of_fewer_epochs_are_not_those_of_the_run(tmp_path):
    run = RunFolder(tmp_path)
    run.start(CONFIG)
    assert run.results_of(CONFIG) is None
    run.results.write_text(json.dumps({"epochs": CONFIG.recipe.epochs}))
    assert run.results_of(CONFIG) == {"epochs": CONFIG.recipe.epochs}
    assert run.results_of(longer(CONFIG)) is None
    with pytest.raises(UserError, match=r"expected a checkpoint in .*checkpoints' to go on from with more `epochs`"):
        run.check(longer(CONFIG))
    run.checkpoints.mkdir()
    (run.checkpoints / "step_0000000010.safetensors").touch()
    run.check(longer(CONFIG))


def test_a_folder_or_file_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not the folder of a run"):
        RunFolder(tmp_path).check(CONFIG)
    with pytest.raises(UserError, match="is a file"):
        RunFolder(tmp_path / "mine.txt").check(CONFIG)


def test_a_damaged_config_is_one_clear_line(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"expected the config\.json of a training run"):
        RunFolder(tmp_path).check(CONFIG)


def test_what_a_command_does_not_say_is_as_the_run_has_it(tmp_path):
    """As version 0.1 left images: its commands, which have no flag for it, go on with its runs."""
    run = RunFolder(tmp_path / "run")
    assert run.continued(CONFIG, set()) == CONFIG
    old = dataclasses.replace(CONFIG, apply_orientation=False)
    run.start(old)
    assert run.continued(CONFIG, {"seed"}) == old
    run.check(run.continued(CONFIG, set()))
    # Nor had its recipes other routers than the authors'.
    now = dataclasses.replace(CONFIG, recipe=dataclasses.replace(CONFIG.recipe, router_scale=0.0, epochs=99))
    assert run.continued(now, set()).recipe == dataclasses.replace(CONFIG.recipe, epochs=99)
    assert run.continued(now, {"router_scale"}).recipe == now.recipe
    given = run.continued(CONFIG, {"apply_orientation"})
    assert given == CONFIG
    with pytest.raises(UserError, match=r"another configuration \(different: apply_orientation\)"):
        run.check(given)


def test_a_damaged_file_of_a_run_is_named(tmp_path):
    run = RunFolder(tmp_path)
    run.config.write_text("{}")
    with pytest.raises(UserError, match=r"config\.json' is damaged: expected the config"):
        run.read_config()
    for text in ("[]", '{"epochs": "2"}', "[" * 100_000):
        run.results.write_text(text)
        with pytest.raises(UserError, match=r"results\.json' is damaged"):
            run.read_results()


def test_a_folder_whose_name_is_not_utf_8_is_refused_before_the_work(tmp_path):
    run = RunFolder(os.fsdecode(os.fsencode(tmp_path) + b"/run\xff"))
    with pytest.raises(UserError, match=r"a name in UTF-8 for `model_dir`, received: '.*run\\udcff'"):
        run.check(CONFIG)
    assert not run.path.exists()
