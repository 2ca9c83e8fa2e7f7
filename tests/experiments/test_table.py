import pytest

from condconv_keras.experiments.table import read_table
from condconv_keras.utils.errors import UserError

HEADER = "model,width_multiplier,num_experts,seed,flags\n"


def table(folder, *rows):
    path = folder / "runs.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return path


def test_names_and_arguments(tmp_path):
    rows = ("mobilenet_v1,0.25,,0,", "condconv_mobilenet_v1,0.5,8,2,--routing_per=layer --nocondconv_classifier")
    plain, twin = read_table(table(tmp_path, *rows))
    assert plain.name == "mobilenet_v1-width_0.25-seed_0"
    assert plain.arguments == ["--model=mobilenet_v1", "--width_multiplier=0.25", "--seed=0"]
    assert twin.name == ("condconv_mobilenet_v1-width_0.5-experts_8-routing_per_layer-nocondconv_classifier-seed_2")
    assert twin.arguments[2:] == ["--num_experts=8", "--seed=2", "--routing_per=layer", "--nocondconv_classifier"]
    assert twin.setting.flags == "--routing_per=layer --nocondconv_classifier"


@pytest.mark.parametrize(
    ("rows", "contains"),
    [
        (["mobilenet_v9,,,0,"], "mobilenet_v9"),
        (["mobilenet_v1,wide,,0,"], "expected a number as `width_multiplier` in row 1"),
        (["mobilenet_v1,,,0,", "mobilenet_v1,,,x,"], "expected an integer as `seed` in row 2"),
        (["mobilenet_v1,,2.5,0,"], "expected an integer as `num_experts`"),
        (["mobilenet_v1,,,,"], "expected an integer as `seed`"),
        (["mobilenet_v1,,,0,", "mobilenet_v1,,,0,"], "row 2 of .* has the folder of row 1"),
        (["mobilenet_v1,,,0,--x=a_b", "mobilenet_v1,,,0,--x=a/b"], "row 2 of .* has the folder of row 1"),
        (["mobilenet_v1,,,0,", "mobilenet_v1,,,1,--x=a,b"], "expected 5 cells in row 2 .*; quote a comma"),
        (['mobilenet_v1,,,0,"--dataset=\'x"'], "expected flags as on a command line"),
        ([], "no rows"),
    ],
)
def test_wrong_rows(tmp_path, rows, contains):
    with pytest.raises(UserError, match=contains):
        read_table(table(tmp_path, *rows))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "text",
    [
        "model,width_multiplier,num_experts,seed,flags\r\ncondconv_mobilenet_v1,0.25,2,0,--epochs=1\r\n,,,,\r\n",
        "model;width_multiplier;num_experts;seed;flags\r\ncondconv_mobilenet_v1;0,25;2;0;--epochs=1\r\n;;;;\r\n",
    ],
)
def test_tables_of_spreadsheets(text, encoding, tmp_path):
    (tmp_path / "runs.csv").write_bytes(text.encode(encoding))
    (run,) = read_table(tmp_path / "runs.csv")
    flags = ["--width_multiplier=0.25", "--num_experts=2", "--seed=0", "--epochs=1"]
    assert run.arguments == ["--model=condconv_mobilenet_v1", *flags]


def test_wrong_files(tmp_path):
    with pytest.raises(UserError, match=r"missing\.csv' cannot be read \(No such file or directory\)$"):
        read_table(tmp_path / "missing.csv")
    (tmp_path / "other.csv").write_text("model,seed\nmobilenet_v1,0\n")
    with pytest.raises(UserError, match=r"expected the columns model, .*received: model, seed"):
        read_table(tmp_path / "other.csv")
