"""What the scripts share: start-up, errors as one line, and output."""

import contextlib
import gc
import os
import re
import signal
import sys
import textwrap

from absl import app, flags, logging

from condconv_keras.commands.names import as_started
from condconv_keras.commands.printing import print_anywhere
from condconv_keras.utils import allocator
from condconv_keras.utils.errors import MissingPackage, UserError, one_line, warnings_worded
from condconv_keras.utils.json_text import json_text
from condconv_keras.utils.lazy import installs_named
from condconv_keras.utils.text_files import is_unicode

_ABSL_HELP = ("helpfull", "helpxml")
_HELP_WIDTH = 120
_HELP_COLUMN = 28
_ARGUMENT = re.compile(r"`(\w+)(?:=([^`]*))?`")


def run(main, backends=("tensorflow",)):
    """Runs a script's `main(argv)` with absl flags.

    A wrong flag, a `UserError` or `MissingPackage`, Ctrl-C and SIGTERM end the process with one line on standard error
    and exit code 2, 2, 130 and 143, after what was written in part is removed.
    While `main` runs, everything printed goes to standard error, so that standard output holds the result alone:
    `main` returns it as text or None, alone or with the exit code.

    Args:
        main: function of the command line's words that are no flags, the script's name first.
        backends: the Keras backends that the script runs on.
    """
    print_anywhere()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    module = main.__module__
    app.run(lambda argv: _run(main, argv, backends), flags_parser=lambda argv: _parse_flags(argv, module))


def _parse_flags(argv, module):
    if _wants_help(argv):
        return _print_help(argv, module)
    try:
        remaining = flags.FLAGS(argv)
    except (flags.Error, ValueError) as error:  # a ValueError for --noflag=value
        sys.exit(_failed(one_line(error)))
    if flags.FLAGS["verbosity"].using_default_value:
        # absl's own default shows what TensorFlow and TFDS do step by step.
        flags.FLAGS.verbosity = logging.WARNING
    expand_home(flags.FLAGS)
    return remaining


def expand_home(values):
    """Replaces the `~` that a path begins with in the values of flags: a shell leaves it in `--model=~/runs/digits`.

    Args:
        values: `absl.flags.FlagValues`, parsed.
    """
    for name in values:
        value = values[name].value
        if isinstance(value, str) and value.startswith("~"):
            values[name].value = os.path.expanduser(value)


def _print_help(argv, module):
    """Prints the program's own flags by group, or with --helpfull and --helpxml absl's help; ends with a success."""
    if not any(argument.lstrip("-").startswith(_ABSL_HELP) for argument in argv):
        _print(as_started(help_text(sys.modules[module].__doc__ or "", flags.FLAGS, module)))
        sys.exit(0)
    try:
        return app.parse_flags_with_usage(argv)
    except SystemExit:
        sys.exit(0)


def expect_flags_only(argv):
    """Raises a `UserError` for a word of the command line that is no flag, of a script that takes none."""
    if len(argv) > 1:
        raise UserError(f"expected flags only, received: {' '.join(argv[1:])}")


def help_text(description, values, module):
    """Returns a program's help: its description, then its flags, a group after another as they were defined.

    Args:
        description: text.
        values: `absl.flags.FlagValues`. A group is what was defined with a `module_name=` that is its title; flags
            without one are the program's and have the title "Flags". Those of imported modules are left out.
        module: name of the program's module.
    """
    # absl calls the module that was started by its path.
    own = (module, sys.argv[0])
    groups = {n: defined for n, defined in values.flags_by_module_dict().items() if n in own or n not in sys.modules}
    parts = [description.strip()]
    for name, defined in groups.items():
        title = "Flags" if name in own else name
        parts.append("\n".join([f"{title}:", *map(_flag_help, defined)]))
    return "\n\n".join(parts)


def _flag_help(flag):
    default = "" if flag.default is None or flag.boolean else f" (default: {flag.default})"
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    text = textwrap.wrap(f"{flag.help}{default}", _HELP_WIDTH - _HELP_COLUMN)
    return f"  {name:<{_HELP_COLUMN - 3}} " + ("\n" + " " * _HELP_COLUMN).join(text)


def _wants_help(argv):
    names = (argument.split("=")[0] for argument in argv if argument.startswith("-"))
    return any(name.lstrip("-") in ("help", "helpshort", *_ABSL_HELP) for name in names)


def _run(main, argv, backends):
    code = _code_of(main, argv, backends)
    # Everything is said and written: another SIGTERM has nothing to interrupt.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What an error that is gone has kept alive goes now. Left to the end of the interpreter, which cannot be
    # interrupted, a tf.data iterator would wait for its threads, and they, where a data set is made by Python, for it.
    gc.collect()
    sys.exit(code)


def _code_of(main, argv, backends):
    """Runs `main`, prints its result or what went wrong, and returns the exit code."""
    try:
        backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        if backend not in backends:
            raise UserError(f"this script runs on {' and '.join(backends)}; received: KERAS_BACKEND={backend}")
        signal.signal(signal.SIGTERM, _terminate)
        allocator.tune()
        with contextlib.redirect_stdout(sys.stderr), installs_named(), warnings_worded(_as_command):
            result = main(argv)
    except (UserError, MissingPackage) as error:
        return _failed(str(error))
    except OSError as error:
        # A full disk, a folder without the right to write: the message of the system says what and where.
        return _failed(one_line(error))
    except UnicodeEncodeError as error:
        if is_unicode(error.object):
            raise
        # TensorFlow takes paths as text: some of its readers and writers do without the bytes of another encoding.
        return _failed(f"expected a name in UTF-8, rename the file or folder {one_line(repr(error.object), 300)}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except SystemExit as ended:
        return ended.code
    text, code = result if isinstance(result, tuple) else (result, 0)
    if text is not None:
        _print(text)
    return code


def _terminate(number, frame):
    print("terminated (SIGTERM)", file=sys.stderr)
    sys.exit(128 + number)


def _print(text):
    """Prints the result. A reader that has seen enough of it, as `head`, is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python would complain once more when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(message):
    """Prints an error that ends the script; returns its exit code."""
    print_error(message)
    return UserError.EXIT_CODE


def print_error(message):
    """Prints an error as one line, arguments as flags; a script may go on, for what else it was asked."""
    print(f"error: {_as_command(message)}", file=sys.stderr)


def _as_command(message):
    """Returns a message of the library as this script says it."""
    return as_flags(as_started(message), flags.FLAGS)


def as_flags(message, values):
    """Returns a message of the library with its arguments as the flags that they came from.

    `` `seed` `` becomes --seed, `` `strategy='tpu'` `` --strategy=tpu, `` `dry_run=True` `` --dry_run and
    `` `dry_run=False` `` --nodry_run.

    Args:
        message: text that names arguments in backticks. What is no flag stays as it is.
        values: `absl.flags.FlagValues` of the command.
    """
    return _ARGUMENT.sub(lambda match: _as_flag(match, values), message)


def _as_flag(argument, values):
    name, value = argument.groups()
    if name not in values:
        return argument[0]
    if value in (None, "True"):
        return f"--{name}"
    return f"--no{name}" if value == "False" else f"--{name}=" + value.strip("'")


def table(rows):
    """Returns (name, value) pairs as aligned lines."""
    width = max(len(str(name)) for name, _ in rows)
    return "\n".join(f"{name!s:<{width}}  {value}" for name, value in rows)


def to_json(result):
    """Returns a result as one JSON object."""
    return json_text(result)
