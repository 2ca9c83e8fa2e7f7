"""`make verify-arm`: what it compares, its emulated machine, its log; and one file of the digits from end to end."""

import dataclasses
import functools
import os
import subprocess

import numpy as np
import pytest

from condconv_keras.export.check.representative import DatasetImages, check_images
from condconv_keras.export.formats import TFLITE
from condconv_keras.stored import StoredModel
from condconv_keras.tasks.detection import detect
from condconv_keras.training.run_data import open_run_dataset
from condconv_keras.utils.errors import UserError
from scripts.arm import __main__ as arm
from scripts.arm import files, machine, models, page
from scripts.arm.comparison import Comparison, best_scores, compare
from tests.docs.openings import bad_openings
from tests.processes import ROOT

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], np.float32)


def classified(probabilities, **network):
    return {"probabilities": np.array(probabilities, np.float32), **network}


def test_equal_answers_pass():
    found = compare(TFLITE["none"], classified(PROBABILITIES), classified(PROBABILITIES))
    assert found == Comparison(2, 2, 0.0, 0.0, 0.0, 200.0, ())


@pytest.mark.parametrize(("mode", "wrong"), [("none", 0.701), ("float16", 0.71), ("dynamic", 0.9), ("int8", 0.9)])
def test_a_difference_above_the_limit_of_the_mode_fails(mode, wrong):
    received = [[wrong, 0.9 - wrong, 0.1] if wrong < 0.9 else [0.1, wrong - 0.1, 0.1], [0.1, 0.3, 0.6]]
    found = compare(TFLITE[mode], classified(PROBABILITIES), classified(received))
    assert found.failures
    assert found.largest == pytest.approx(np.abs(np.array(received) - PROBABILITIES).max(), rel=1e-4)
    assert found.same_class == (1 if mode in ("dynamic", "int8") else 2)


def test_a_difference_below_the_limit_of_the_mode_passes():
    received = classified([[0.7002, 0.1998, 0.1], [0.1, 0.3, 0.6]])
    assert compare(TFLITE["float16"], classified(PROBABILITIES), received).failures == ()
    assert compare(TFLITE["none"], classified(PROBABILITIES), received).failures


def test_the_limits_are_those_of_an_untrained_model():
    received = classified([[0.7005, 0.1995, 0.1], [0.1, 0.3, 0.6]])
    found = compare(TFLITE["float16"], classified(PROBABILITIES), received)
    assert TFLITE["float16"].min_trained_snr_db < found.snr_db < TFLITE["float16"].min_snr_db
    assert found.failures == (f"SNR {found.snr_db:.1f} dB (at least 60)",)


def test_the_margin_of_a_class_that_changes_is_that_on_x86():
    expected, received = classified([[0.5, 0.4, 0.1], [0.2, 0.2, 0.6]]), classified([[0.4, 0.5, 0.1], [0.2, 0.2, 0.6]])
    found = compare(TFLITE["int8"], expected, received)
    assert (found.same_class, found.margin) == (1, pytest.approx(0.2))


def test_the_best_score_of_every_class():
    detections = {"classes": np.array([[1.0, 0, 1], [2, 0, 0]]), "scores": np.array([[0.9, 0.8, 0.7], [0.5, 0, 0]])}
    np.testing.assert_array_equal(best_scores(detections, 3), [[0.8, 0.9, 0], [0, 0, 0.5]])


@pytest.fixture
def detections():
    """Answers of a detector with 50 anchors and two classes, and its anchors."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.7, (50, 2))
    anchors = np.concatenate([corners, corners + rng.uniform(0.1, 0.3, (50, 2))], axis=1).astype(np.float32)
    raw = {"box_codes": rng.normal(size=(2, 50, 4)), "class_logits": rng.normal(size=(2, 50, 3))}
    raw = {name: values.astype(np.float32) for name, values in raw.items()}
    found = {name: np.array(value) for name, value in detect(raw, anchors).items()}
    return {**raw, **found}, anchors


def test_a_detector_passes_with_its_own_detections(detections):
    answers, anchors = detections
    found = compare(TFLITE["none"], answers, answers, anchors)
    assert found == Comparison(2, 2, 0.0, 0.0, 0.0, 200.0, ())


def test_a_detector_fails_with_other_detections_or_outputs(detections):
    answers, anchors = detections
    moved = {**answers, "boxes": answers["boxes"] + 0.01}
    assert "no box and score of an anchor" in compare(TFLITE["none"], answers, moved, anchors).failures[0]
    renamed = {**answers, "classes": 1 - answers["classes"]}
    found = compare(TFLITE["none"], answers, renamed, anchors)
    assert (found.same_class, bool(found.failures)) == (0, True)
    shifted = {**answers, "class_logits": answers["class_logits"] + np.float32(0.01)}
    found = compare(TFLITE["none"], answers, shifted, anchors)
    assert found.largest == pytest.approx(0.01, rel=1e-3)
    assert any("relative error" in each for each in found.failures)


def test_the_wheels_are_those_of_the_lock_for_the_machine_s_python():
    pins = machine.pinned_wheels()
    assert [pin.split("==")[0] for pin in pins] == list(machine.WHEELS)
    (numpy,) = (pin for pin in pins if pin.startswith("numpy=="))
    assert f"\n{numpy} ; python_full_version < '3.12'\n" in (ROOT / "requirements.lock").read_text()


def test_missing_programs_are_named_with_their_packages(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"apt-get install qemu-user-static apt dpkg$"):
        machine.Machine(tmp_path / "machine")


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.setattr(machine, "missing_tools", list)


def test_the_machine_is_set_up_once_and_again_for_other_packages(monkeypatch, tmp_path, tools):
    filled = []
    monkeypatch.setattr(machine, "_fill", lambda folder: filled.append(folder) or ["python3.11_1_arm64", "numpy-2-any"])
    for _ in range(2):
        assert machine.Machine(tmp_path / "machine").contents == ["python3.11_1_arm64", "numpy-2-any"]
    assert len(filled) == 1
    monkeypatch.setattr(machine, "DEBS", ("libc6",))
    machine.Machine(tmp_path / "machine")
    assert len(filled) == 2


def test_a_machine_that_cannot_be_filled_is_not_there(monkeypatch, tmp_path, tools):
    def failed(command, **_):
        return subprocess.CompletedProcess(command, 100, "", "E: Unable to locate package\nlibc6")

    monkeypatch.setattr(machine.subprocess, "run", failed)
    with pytest.raises(UserError, match=r"cannot download the arm64 packages.*Debian 12 \(E: Unable"):
        machine.Machine(tmp_path / "machine")
    assert list(tmp_path.iterdir()) == []


def test_dot_products_are_counted(monkeypatch, tmp_path, tools):
    monkeypatch.setattr(machine, "_fill", lambda folder: [])
    # sdot v16.4s, v8.16b, v0.4b[0]; sdot v0.4s, v1.16b, v2.16b; again; udot v0.4s, v1.16b, v2.16b; add x0, x0, #1
    code = "IN: kernel\n" + "".join(
        f"0x55000{i:x}0:  {word}  text\n"
        for i, word in enumerate(("4f80e110", "4e829420", "4e829420", "6e829420", "91000400"))
    )

    def run(command, **_):
        with open(command[command.index("-D") + 1], "w") as file:
            file.write(code)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(machine.subprocess, "run", run)
    assert machine.Machine(tmp_path / "machine").dot_products(machine.CORTEX_A76, "runner.py") == 3


def row(**fields):
    comparison = Comparison(16, 15, 0.0123, 2e-3, 4e-4, 31.25, ())
    return dataclasses.replace(
        page.Row("digits", "int8", "static", "cortex-a76", 0.96, 3, comparison, 0.0123, 7), **fields
    )


def test_the_table_of_the_log():
    assert page.table([row()]).splitlines()[2:] == [
        "| `digits` | `int8` | static | 1.0 | 3 | 16 | 15 | 2.0e-03 | 4.0e-04 | 31.2 | 0.01 |"
    ]


def test_the_log_says_by_how_much_int8_differs_and_which_kernels_ran(monkeypatch):
    monkeypatch.setattr(page, "qemu_version", lambda: "qemu-aarch64 version 7")
    other = row(processor="cortex-a53", comparison=Comparison(16, 16, 0.0, 0.0, 0.0, 200.0, ()), dot_products=0)
    log = text = page.markdown([row(), other], ["python3.11-minimal_3.11.2_arm64", "numpy-2.4.6-cp311-aarch64"])
    a76, a53 = text.split("## Cortex-A76")[1].split("## Cortex-A53")
    a76, a53 = (" ".join(each.split()) for each in (a76, a53))
    assert (
        "`int8` files the kernels of both processors leave 31.2 to 31.2 dB, a relative error of up to 4.0e-04." in a76
    )
    assert "in 1 of 16 answers of `digits` in `int8` (static): there x86 has its own class at most 1.2% above" in a76
    assert "leave 200.0 to 200.0 dB" in a53 and "The class is" not in a53
    assert "| cortex-a76 | `int8` | static | 7 |\n| cortex-a53 | `int8` | static | 0 |" in text
    text = " ".join(text.split())
    assert "Python 3.11.2 for arm64, and from the wheels for aarch64 numpy 2.4.6." in text
    assert "a relative error of at most 1e-04 for `none`, at least 60 dB for `float16`" in text
    assert bad_openings(log) == []
    assert max(len(line) for line in log.splitlines() if not line.startswith("|")) <= 120


def test_an_unknown_model_is_an_error():
    assert arm.checked_names(["scenes", "digits", "scenes"]) == ["digits", "scenes"]
    with pytest.raises(UserError, match="lite5"):
        arm.checked_names(["lite5"])
    assert list(models.SUBJECTS) == list(arm.NAMES)


def test_a_program_that_fails_is_one_line(tmp_path):
    file = files.File("digits", TFLITE["none"], "static", tmp_path / "a.tflite", None, tmp_path / "a.npy", None)
    with pytest.raises(UserError, match=r"^digits a\.tflite failed: ValueError: mmap"):
        file.path.write_bytes(b"")
        arm.answers(arm.here, file)


@pytest.mark.slow
@pytest.mark.skipif(bool(machine.missing_tools()), reason="needs apt-get install qemu-user-static")
def test_an_int8_file_of_the_digits_answers_on_arm_as_on_x86(trained_run, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TFLITE", {"int8": TFLITE["int8"]})
    stored = StoredModel.open(trained_run)
    model, card = stored.load_to_answer()
    dataset, _ = open_run_dataset(stored.config, None, None, None, False, stored.task)
    calibration = np.asarray(card.preprocessing.evaluation_images(DatasetImages(dataset).calibration()))
    images = check_images(DatasetImages(dataset), card.preprocessing)
    subject = models.Subject("digits", model, card, calibration, images, 16, False, (models.RUN_TIME,))
    (file,) = files.write_files(subject, tmp_path)
    emulated = machine.Machine(ROOT / machine.FOLDER)
    expected, _ = arm.answers(arm.here, file)
    assert len(np.unique(expected["probabilities"].argmax(axis=-1))) > 1
    for processor in (machine.CORTEX_A76, machine.CORTEX_A53):
        received, seconds = arm.answers(functools.partial(emulated.run, processor), file)
        found = compare(file.format, expected, received)
        assert (found.images, found.same_class, found.failures) == (16, 16, ())
        assert found.snr_db > 30 and seconds > 0
    assert (
        arm.dot_products(emulated, machine.CORTEX_A76, file) > 0 == arm.dot_products(emulated, machine.CORTEX_A53, file)
    )
    # Another image's answers are not these.
    moved = {name: np.roll(values, 1, axis=0) for name, values in received.items()}
    assert compare(file.format, expected, moved).failures
    assert not os.path.exists("core")
