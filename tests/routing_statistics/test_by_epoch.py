import pytest

from condconv_keras.routing_statistics.by_epoch import RoutingOfEpoch, read_by_epoch, write_by_epoch
from condconv_keras.utils.errors import UserError
from tests.analysis.stored import one_layer


def test_a_file_has_the_rows_of_the_statistics(tmp_path):
    # By hand: the first expert is dead, the second one saturated for one image of two.
    layer = one_layer([[0.0, 0.25], [0.0, 1.0]], [0, 1], ["a", "b"])
    rows = (RoutingOfEpoch.of(0, layer, sigmoid=True), RoutingOfEpoch.of(3, layer, sigmoid=False))
    path = tmp_path / "routing.csv"
    write_by_epoch(path, rows)
    assert path.read_text() == (
        "epoch,layer,experts,in_use,saturation,spread,mean\n"
        "0,routing,2,1,0.75,0.1875,0.3125\n3,routing,2,,0.75,0.1875,0.3125\n"
    )
    assert read_by_epoch(path) == rows
    assert read_by_epoch(tmp_path / "none.csv") == ()


@pytest.mark.parametrize(
    "row",
    [
        "0,a,2,x,0.5,0.1,0.5",
        "0,a,2,1,0.5,0.1,",
        "0,a,2,1,0.5",
        "0,a,2,1,nan,0.1,0.5",
        "-1,a,2,1,0,0,0",
        "0,a,0,0,0,0,0",
        "0,a,2,3,0,0,0",
        "0,a,2,-1,0,0,0",
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, row):
    path = tmp_path / "routing.csv"
    path.write_text(f"epoch,layer,experts,in_use,saturation,spread,mean\n{row}\n")
    with pytest.raises(UserError, match=r"their values in '.*routing\.csv'.*restore or remove the file"):
        read_by_epoch(path)
