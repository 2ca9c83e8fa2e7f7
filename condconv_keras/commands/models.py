"""Prints the models with their size and cost next to the paper's figures.

`python -m models [pattern]` prints a table, `--csv [PATH]` writes it as CSV and `--markdown [PATH]` as one card per
model (docs/models.md). Parameters and multiply-adds are counted on the model as it is built here
(`condconv_keras.profiling` has the rules); the paper's columns are what its authors report. A model has a line for each
width that they report. Multiply-adds are in millions, top-1 (ImageNet) and mAP (COCO) in percent.
"""

import argparse
import os
import sys

from condconv_keras.commands.names import as_started, started_as
from condconv_keras.commands.printing import print_anywhere
from condconv_keras.models import cards_page, table
from condconv_keras.models.registry import list_models
from condconv_keras.utils.errors import MissingPackage, UserError, unknown_name
from condconv_keras.utils.files import write_text
from condconv_keras.utils.lazy import installs_named
from condconv_keras.utils.progress import progress

_MARKDOWN_PATH = "docs/models.md"


def main(argv=None):
    """Runs the command; returns the exit code."""
    options = _parse(argv)
    try:
        names = list_models(options.pattern)
        if not names:
            raise unknown_name("model", options.pattern, list_models())
        _check_path("--csv", options.csv, ".csv")
        _check_path("--markdown", options.markdown, ".md")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with installs_named():
            _write(_measure(names), options)
    except (UserError, MissingPackage, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UserError.EXIT_CODE
    return 0


class _Parser(argparse.ArgumentParser):
    """Answers a wrong argument with one line."""

    def error(self, message):
        self.exit(UserError.EXIT_CODE, f"error: {message}\n")


def _parse(argv):
    parser = _Parser(
        prog=" ".join(started_as()),
        description=as_started(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of model names, as in 'condconv_*'")
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--csv", nargs="?", const="-", metavar="PATH", help="write CSV to PATH (*.csv) or standard output"
    )
    output.add_argument(
        "--markdown",
        nargs="?",
        const=_MARKDOWN_PATH,
        metavar="PATH",
        help=f"write the model cards to PATH (*.md), default {_MARKDOWN_PATH}",
    )
    return parser.parse_args(argv)


def _check_path(flag, path, suffix):
    if path in (None, "-"):
        return
    # The suffix catches `--csv 'mobilenet*'`, a pattern taken for the path.
    if not path.endswith(suffix) or not os.path.isdir(os.path.dirname(path) or "."):
        raise UserError(f"{flag} takes a path that ends in {suffix}, in a folder that exists. Received: {path!r}")


def _measure(names):
    """The rows of the models, with progress on a terminal."""
    return [row for name in progress(names, leave=False, unit="model") for row in table.measure(name)]


def _write(rows, options):
    if options.markdown is not None:
        text, path = cards_page.page(rows), options.markdown
    elif options.csv is not None:
        text, path = table.as_csv(rows), options.csv
    else:
        text, path = table.as_table(rows) + "\n", "-"
    if path == "-":
        sys.stdout.write(text)
    else:
        write_text(path, text)


def run():
    """Runs the command."""
    print_anywhere()
    sys.exit(main())


if __name__ == "__main__":
    run()
