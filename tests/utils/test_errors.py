import types

import pytest

from condconv_keras.utils.errors import UserError, op_reason

STACK = 'Graph execution error:\n\nDetected at node Op defined at (most recent call last):\n  File "a.py", line 8\n\n'


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("{{function_node __wrapped__Op}} Input is empty. [Op:DecodeImage] name: ", "Input is empty"),
        (f"{STACK}<stack traces unavailable>\nassertion failed: [no]\n\t [[x]]", "no"),
        (f"{STACK}Unknown format.\n\t [[{{{{node Op}}}}]] [Op:__inference_f_6]", "Unknown format"),
        (
            "{{function_node x}} assertion failed: [expected 1, received] [8] [Op:Assert] name: ",
            "expected 1, received 8",
        ),
        (
            "{{function_node x}} Aborted by: tasks are unhealthy: \n/job:worker\nThey crashed",
            "Aborted by: tasks are unhealthy: /job:worker They crashed",
        ),
    ],
)
def test_the_reason_of_an_op_error_is_one_line(message, reason):
    assert op_reason(types.SimpleNamespace(message=message)) == reason


def test_a_name_with_line_ends_leaves_the_message_one_line():
    assert str(UserError("the folder a\nb\u2028c  d")) == "the folder a b c  d"
