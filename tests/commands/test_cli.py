import signal
import subprocess
import sys

import pytest
from absl import flags

from condconv_keras.commands import cli
from condconv_keras.utils.errors import UserError, warn
from tests import processes


def test_a_reader_that_stops_early_is_no_error():
    program = "from condconv_keras.commands import cli; cli.run(lambda argv: 'line\\n' * 200_000)"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=processes.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    errors = process.stderr.read()
    assert (process.wait(), errors) == (0, "")


def test_a_second_signal_adds_no_traceback():
    """As when Ctrl-C reaches a program and its parent, and the parent then ends it."""
    program = """
import gc, os, signal
from condconv_keras.commands import cli
from condconv_keras.utils.errors import UserError
class Slow:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
def main(argv):
    cycle = [Slow()]
    cycle.append(cycle)
    raise KeyboardInterrupt
gc.disable()
cli.run(main)
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=processes.ROOT, capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (-signal.SIGTERM, "interrupted\n")


def test_a_name_that_a_library_cannot_take_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(cli.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(cli.allocator, "tune", lambda: None)
    assert cli._code_of(lambda argv: "caf\udce9".encode(), [], ("tensorflow",)) == 2
    assert capsys.readouterr().err == r"error: expected a name in UTF-8, rename the file or folder 'caf\udce9'" + "\n"
    with pytest.raises(UnicodeEncodeError):
        cli._code_of(lambda argv: "é".encode("ascii"), [], ("tensorflow",))


def test_a_warning_of_the_library_names_flags_in_a_command_alone(capsys, monkeypatch):
    monkeypatch.setattr(cli.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(cli.allocator, "tune", lambda: None)
    values = flags.FlagValues()
    flags.DEFINE_integer("clip_norm", 1, "", flag_values=values)
    monkeypatch.setattr(cli.flags, "FLAGS", values)
    assert cli._code_of(lambda argv: warn("try `clip_norm=1`\nor `tea`"), [], ("tensorflow",)) == 0
    warn("try `clip_norm=1`")
    assert capsys.readouterr().err == "warning: try --clip_norm=1 or `tea`\nwarning: try `clip_norm=1`\n"


def test_the_home_folder_in_flags(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    values = flags.FlagValues()
    flags.DEFINE_string("model", None, "", flag_values=values)
    flags.DEFINE_string("dataset", None, "", flag_values=values)
    flags.DEFINE_string("other", "~/c", "", flag_values=values)
    flags.DEFINE_integer("seed", 1, "", flag_values=values)
    values(["program", "--model=~/a b/~", "--dataset=a~"])
    cli.expand_home(values)
    assert values.flag_values_dict() == {"model": "/home/me/a b/~", "dataset": "a~", "other": "/home/me/c", "seed": 1}


def test_help_shows_the_groups_of_flags_in_their_order_and_none_of_imported_modules():
    values = flags.FlagValues()
    flags.DEFINE_string("second", None, "Comes second.", flag_values=values, module_name="Zebra")
    flags.DEFINE_integer("first", 7, "Comes first.", flag_values=values, module_name="Zebra")
    flags.DEFINE_bool("switch", False, "word " * 30, flag_values=values, module_name="Ape")
    flags.DEFINE_string("hidden", None, "Of a library.", flag_values=values, module_name="json")
    flags.DEFINE_enum("kind", "a", ["a", "b"], "One or the other.", flag_values=values, module_name=sys.argv[0])
    lines = cli.help_text("What it does.\n\nMore.\n", values, __name__).splitlines()
    assert lines[:6] == [
        "What it does.",
        "",
        "More.",
        "",
        "Zebra:",
        "  --second                  Comes second.",
    ]
    assert lines[6] == "  --first                   Comes first. (default: 7)"
    assert lines[8] == "Ape:"
    assert lines[9].startswith("  --[no]switch              word word")
    assert lines[10].startswith(" " * 28 + "word")
    assert max(map(len, lines)) <= 120
    assert lines[-2:] == ["Flags:", "  --kind                    <a|b>: One or the other. (default: a)"]
    assert "--hidden" not in "\n".join(lines)


@pytest.mark.parametrize("flag", ["--help", "-helpshort", "--helpfull", "--helpxml"])
def test_help_is_a_success(flag):
    finished = processes.run("predict.py", flag)
    assert "top_k" in finished.stdout
    assert finished.stderr == ""


def test_a_file_may_be_called_help(tmp_path):
    processes.assert_refused("predict.py", "--model=x", "help", contains="nothing lies at 'help'")


def test_a_word_is_refused_where_only_flags_are_taken():
    cli.expect_flags_only(["train.py"])
    with pytest.raises(UserError, match="expected flags only, received: two words"):
        cli.expect_flags_only(["train.py", "two", "words"])


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("`seed` must be at least 0. Received: seed=-1", "--seed must be at least 0. Received: seed=-1"),
        ("`strategy='tpu'` needs a `seed`, `seed=3`", "--strategy=tpu needs a --seed, --seed=3"),
        ("leave them out with `dry_run=True`", "leave them out with --dry_run"),
        ("`dry_run=False` and `strategy=''`", "--nodry_run and --strategy="),
        # What is no flag of the command stays, and so do commands, and what was received.
        ("`filters` and `filters=3` of `tf.nn`", "`filters` and `filters=3` of `tf.nn`"),
        ("`train.py --seed=1` says more. Received: 'seed'", "`train.py --seed=1` says more. Received: 'seed'"),
    ],
)
def test_an_error_of_the_library_names_flags_where_a_command_prints_it(message, printed):
    values = flags.FlagValues()
    flags.DEFINE_integer("seed", 0, "", flag_values=values)
    flags.DEFINE_string("strategy", None, "", flag_values=values)
    flags.DEFINE_bool("dry_run", False, "", flag_values=values)
    assert cli.as_flags(message, values) == printed


def test_a_command_prints_the_flag_of_an_argument():
    processes.assert_refused(
        "train.py", "--model=mobilenet_v1", "--batch_size=0", "--dry_run", contains="--batch_size must be an integer"
    )
