import pytest

from condconv_keras.commands.study_flags import check_flags
from condconv_keras.experiments.table import read_table
from condconv_keras.utils.errors import UserError
from tests import processes

HEADER = "model,width_multiplier,num_experts,seed,flags\n"


@pytest.fixture
def rows(tmp_path):
    """A function of rows of a table that returns the runs."""

    def read(*lines):
        (tmp_path / "runs.csv").write_text(HEADER + "\n".join(lines))
        return read_table(tmp_path / "runs.csv")

    return read


@pytest.mark.parametrize(
    ("row", "common", "flag"),
    [
        ("condconv_mobilenet_v1,,2,0,", ["--num_experts=3"], "num_experts"),
        ("condconv_mobilenet_v1,,2,0,", ["--num_experts=2"], "num_experts"),
        ("condconv_mobilenet_v1,,2,0,", ["--epochs=1", "--num_experts", "3"], "num_experts"),
        ("condconv_mobilenet_v1,,2,0,", ["-num_experts=3"], "num_experts"),
        ("condconv_mobilenet_v1,,2,0,", ["--flagfile={folder}/flags"], "num_experts"),
        ("mobilenet_v1,0.5,,0,", ["--width_multiplier=1"], "width_multiplier"),
        ("mobilenet_v1,,,0,", ["--model=mobilenet_v2"], "model"),
        ("mobilenet_v1,,,0,", ["--seed=1"], "seed"),
        ("condconv_mobilenet_v1,,,0,--nocondconv_classifier", ["--condconv_classifier"], "condconv_classifier"),
        ("condconv_mobilenet_v1,,,0,--condconv_classifier", ["--nocondconv_classifier"], "condconv_classifier"),
        ("condconv_mobilenet_v1,,,0,--condconv_classifier", ["--condconv_classifier=false"], "condconv_classifier"),
        ("condconv_mobilenet_v1,,,0,--start_group=2", ["--start_stage=3"], "start_stage"),
        ("mobilenet_v1,,,0,--weights=a.keras", ["--initial_weights=b.keras"], "weights"),
    ],
)
def test_a_flag_of_a_row_that_all_runs_are_given_is_refused(rows, tmp_path, row, common, flag):
    (tmp_path / "flags").write_text("--epochs=2\n--num_experts=3\n")
    runs = rows("mobilenet_v2,,,7,", row) if flag not in ("model", "seed") else rows(row)
    number = len(runs)
    with pytest.raises(UserError, match=rf"^--{flag} is given in row {number} of the table and after `--`, for all"):
        check_flags(runs, [word.format(folder=tmp_path) for word in common])


@pytest.mark.parametrize(
    ("row", "flag"),
    [
        ("condconv_mobilenet_v1,,2,0,--num_experts=3", "num_experts"),
        ("mobilenet_v1,,,0,--seed 1", "seed"),
        ("mobilenet_v1,,,0,--model=mobilenet_v2", "model"),
        ("mobilenet_v1,,,0,--epochs=1 --epochs=2", "epochs"),
        ("mobilenet_v1,,,0,--nesterov --nonesterov", "nesterov"),
    ],
)
def test_a_flag_that_a_row_sets_twice_is_refused(rows, row, flag):
    with pytest.raises(UserError, match=rf"^--{flag} is given twice in row 1 of the table$"):
        check_flags(rows(row), [])


@pytest.mark.parametrize(
    ("common", "message"),
    [
        (["--epochs=1", "--epochs=2"], r"--epochs is given twice after `--`"),
        (["--initial_weights=a.keras", "--initial_weights=a.keras"], r"--weights is given twice after `--`"),
        (["--model_dir=x"], "--model_dir is given after `--`: the runs lie in"),
        (["--dry_run"], "--dry_run is given after `--`: nothing would be trained"),
        (["--jobs=2"], r"'jobs'.* \(after `--`\)"),
        (["--epochs=many"], r"--epochs=many: .*\(after `--`\)"),
        (["--nonesterov=1"], r"does not take an argument \(after `--`\)"),
        (["--epochs"], r"Missing value for flag --epochs \(after `--`\)"),
        (["epochs=1"], r"expected flags of train\.py after `--`, received: epochs=1"),
    ],
)
def test_what_is_no_flag_of_all_runs_is_refused(rows, common, message):
    with pytest.raises(UserError, match=message) as refusal:
        check_flags(rows("mobilenet_v1,,,0,"), common)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("row", "same"),
    [
        ("condconv_mobilenet_v1,0.5,2,0,", "condconv_mobilenet_v1,.50,2,00,"),
        ("mobilenet_v1,,,0,--epochs=1 --nonesterov", "mobilenet_v1,,,0,--nesterov=FALSE --epochs 1"),
        ("condconv_mobilenet_v1,,,3,--start_group=2", "condconv_mobilenet_v1,,,3,--start_stage=2"),
    ],
)
def test_rows_that_train_the_same_are_refused(rows, row, same):
    with pytest.raises(UserError, match=r"^row 4 of the table trains the same as row 1: give another seed"):
        check_flags(rows(row, ",,,,", "mobilenet_v2,,,0,", same), [])
    check_flags(rows(row, same.replace(",0,", ",1,").replace(",00,", ",1,").replace(",3,", ",1,")), [])


def test_a_wrong_flag_of_a_row_is_refused(rows):
    with pytest.raises(UserError, match=r"'epoch'.*Did you mean.* \(in row 2 of the table\)"):
        check_flags(rows("mobilenet_v1,,,0,", "mobilenet_v1,,,1,--epoch=1"), [])


def test_flags_that_each_have_one_place_are_taken(rows):
    runs = rows(
        "mobilenet_v1,0.25,,0,",
        "condconv_mobilenet_v1,0.25,2,0,--start_block 12 --nocondconv_classifier",
        "resnet50,,,1,",
    )
    check_flags(runs, ["--dataset=digits", "--epochs=1", "--input_size", "32", "--nonesterov", "--verbosity=1"])
    check_flags(runs, [])


def test_the_command_refuses_before_anything_is_trained(tmp_path):
    (tmp_path / "runs.csv").write_text(HEADER + "condconv_mobilenet_v1,0.25,2,0,\n")
    arguments = (f"--table={tmp_path / 'runs.csv'}", f"--output_dir={tmp_path / 'study'}", "--", "--num_experts=3")
    environment = processes.without_frameworks(tmp_path)
    processes.assert_refused("-m", "experiments", *arguments, contains="--num_experts is given in row 1", **environment)
    assert not (tmp_path / "study").exists()
