import subprocess
import sys

from tests import commands


def test_a_reader_that_stops_early_is_no_error():
    program = "from condconv_keras import cli; cli.run(lambda argv: 'line\\n' * 200_000)"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=commands.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    errors = process.stderr.read()
    assert (process.wait(), errors) == (0, "")
