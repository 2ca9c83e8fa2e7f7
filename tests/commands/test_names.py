import sys

import pytest

from condconv_keras.commands import names

TEXT = "`python -m models` lists them; python train.py --x=1, as of eval.py; docs/train.py, my_train.py stay"


@pytest.mark.parametrize("program", ["train.py", "/work/train.py", "-c"])
def test_a_checkout_keeps_its_names(program, monkeypatch):
    monkeypatch.setattr(sys, "argv", [program])
    assert names.as_started(TEXT) == TEXT


def test_an_installation_has_its_own_names(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/condconv-train", "--epochs=1"])
    assert names.started_as() == ["condconv-train"]
    assert names.as_started(TEXT) == (
        "`condconv-models` lists them; condconv-train --x=1, as of condconv-eval; docs/train.py, my_train.py stay"
    )
