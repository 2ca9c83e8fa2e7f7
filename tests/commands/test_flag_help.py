"""What `--help` says: plain sentences, none of which opens with "Of", "What" or a bare participle."""

import ast
import functools

import pytest
from absl import flags

from condconv_keras.commands import (
    analyze,
    eval,
    experiments,
    export,
    export_flags,
    models,
    predict,
    train,
    train_flags,
    weights,
)
from tests import processes
from tests.docs.openings import bad_openings

# Each command, and what defines its flags.
COMMANDS = {
    analyze: analyze._define_flags,
    eval: eval._define_flags,
    experiments: experiments._define_flags,
    export: export_flags.define_flags,
    predict: predict._define_flags,
    train: train_flags.define_flags,
    weights: weights._define_flags,
}


def _flags_of(define, monkeypatch):
    """The flags of a command, defined apart from those that this process has."""
    values = flags.FlagValues()
    if define.__code__.co_argcount:
        define(values)
    else:
        for name in ("bool", "enum", "float", "integer", "list", "string"):
            original = getattr(flags, f"DEFINE_{name}")
            monkeypatch.setattr(flags, f"DEFINE_{name}", functools.partial(original, flag_values=values))
        define()
    return {name: values[name].help for name in values}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__.rpartition(".")[2])
def test_the_help_of_a_command_reads_as_sentences(command, monkeypatch):
    helps = _flags_of(COMMANDS[command], monkeypatch)
    assert len(helps) > 3
    assert {name: bad for name, text in helps.items() if (bad := bad_openings(_without_choices(text)))} == {}
    assert bad_openings(command.__doc__) == []


def _without_choices(text):
    """A flag's help without `<a|b>: `, which absl writes before that of an enum."""
    return text.rpartition(">: ")[2] if text.startswith("<") else text


def test_the_help_of_models_reads_as_sentences(capsys):
    with pytest.raises(SystemExit):
        models.main(["--help"])
    assert "write CSV to PATH" in (text := capsys.readouterr().out)
    assert bad_openings(text) == []


@pytest.mark.parametrize("folder", ["benchmarks", "scripts"])
def test_the_help_of_a_checkouts_own_programs_reads_as_sentences(folder):
    """Some of them define their flags when they are started only: their source has the texts."""
    found = 0
    for path in sorted((processes.ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        helps = list(_help_texts(tree))
        assert {text: bad for text in helps if (bad := bad_openings(text))} == {}, path
        assert not helps or bad_openings(ast.get_docstring(tree)) == [], path
        found += len(helps)
    assert found > 5


def _help_texts(tree):
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "").startswith("DEFINE_"):
            texts = [value.value for value in call.args if isinstance(value, ast.Constant)]
            yield next(text for text in reversed(texts) if isinstance(text, str))


@pytest.mark.parametrize(
    "text",
    [
        "Of a detector: boxes.",
        "Boxes. What is shown.",
        "Held back are images.",
        "A file.\n\nWritten are all.",
        "Using it, stop.",
    ],
)
def test_a_bad_opening_is_found(text):
    assert len(bad_openings(text)) == 1


@pytest.mark.parametrize("text", ["Training takes a minute.", "Speed: 3.", "A part of what is there. It is held out."])
def test_other_openings_are_left_alone(text):
    assert bad_openings(text) == []
