import csv

import pytest

from tests import processes


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["--compare=everything"], "unknown compare 'everything'"),
        (["--work=evaluation"], "unknown work 'evaluation'"),
        (["--batch=x"], "--batch expects batch sizes, received: x"),
    ],
)
def test_bad_flags(arguments, contains, tmp_path):
    environment = processes.without_frameworks(tmp_path)
    processes.assert_refused("-m", "benchmarks.peers", *arguments, contains=contains, **environment)


def test_timm_is_an_extra(tmp_path):
    (tmp_path / "timm.py").write_text("raise ImportError")
    processes.assert_refused(
        "-m", "benchmarks.peers", contains="pip install -r requirements-peers.txt", PYTHONPATH=str(tmp_path)
    )


@pytest.mark.slow
def test_the_work_is_the_same(tmp_path):
    """Ours and timm's have as many weights, and layers have gradients and outputs of the same sizes."""
    pytest.importorskip("timm")
    import timm

    from benchmarks import peers
    from condconv_keras.pretrained import create_model

    for ours, theirs in peers.MODELS:
        network = create_model(ours)
        count = sum(weight.numpy().size for weight in network.trainable_weights)
        assert count == sum(parameter.numel() for parameter in timm.create_model(theirs).parameters())
    for layer in peers.LAYERS:
        calls = peers._layer_calls(layer, 2, "training")
        ours = sorted(int(gradient.numpy().size) for gradient in calls["ours"]()[-1])
        for name in ("contiguous", "channels last"):
            assert sorted(gradient.numel() for gradient in calls[name]()[-1]) == ours
        outputs = peers._layer_calls(layer, 2, "inference")
        batch, height, width, channels = outputs["ours"]()[-1][0].shape
        for name in ("contiguous", "channels last"):
            assert outputs[name]()[-1].shape == (batch, channels, height, width)


@pytest.mark.slow
def test_a_table_of_ratios(tmp_path):
    pytest.importorskip("timm")
    path = tmp_path / "peers.csv"
    processes.run("-m", "benchmarks.peers", "--compare=models", "--batch=1", "--rounds=3", f"--csv={path}")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["work"]) for row in rows] == [
        (name, work) for name in ("efficientnet_b0", "condconv_efficientnet_b0") for work in ("inference", "training")
    ]
    for row in rows:
        assert float(row["ratio"]) == pytest.approx(float(row["ours_ms"]) / float(row["timm_ms"]), rel=0.01)
