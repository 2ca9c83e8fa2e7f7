import re

import pytest

from condconv_keras.commands.models import main
from condconv_keras.models import list_models, model_entry
from condconv_keras.models.cards_page import page
from condconv_keras.models.table import Row
from tests import processes


def rows(name):
    """Rows whose counts are easy to find again."""
    entry = model_entry(name)
    is_detector = entry.task == "detection"
    counts = {"multiply_adds": 123.4, "convolution": 100.0, "mixing": 20.0, "routing": 3.25, "elementwise": 0.15}
    return [
        Row(
            model=name,
            width=getattr(figures, "width_multiplier", None) or 1.0,
            input="224x224x3",
            parameters=1234567,
            batch_norm=89,
            difference=figures and -1.5,
            paper_multiply_adds=figures and figures.multiply_adds,
            paper_top_1=None if is_detector else figures and figures.accuracy,
            paper_map=figures.accuracy if is_detector else None,
            **counts,
        )
        for figures in entry.paper or (None,)
    ]


def page_of(names):
    return page([row for name in names for row in rows(name)])


def test_every_model_has_a_card_that_says_what_is_known():
    text = page_of(list_models())
    cards = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert list(cards) == list_models()
    for name, card in cards.items():
        entry = model_entry(name)
        assert ": 1,234,567, of which batch normalization 89" in card
        assert "123.40 M (convolution 100.00, mixing 20.00, routing 3.25, elementwise 0.15)" in card
        assert entry.reference in card
        assert f"mean {entry.input_mean:g}, std {entry.input_std:g}" in card
        assert f"--model={name} " in card and f"--recipe={entry.recipe} " in card
        accuracy = "mAP" if entry.task == "detection" else "top-1"
        for figures in entry.paper:
            assert f"M multiply-adds, {figures.accuracy:.1f} % {accuracy}; our count differs by -1.50 %" in card
        assert ("no figures" in card) == (not entry.paper)
        for weights in entry.published:
            assert weights.url in card
        assert ("Weights: none" in card) == (not entry.published)
        assert ("experts from" in card) == name.startswith("condconv_")


def test_page_in_the_documentation_is_up_to_date():
    """But for the counts, which take a minute to make."""
    counted = re.compile(r"^(- Parameters|- Multiply-adds|- Paper|- Input|\|).*$", re.MULTILINE)
    written = (processes.ROOT / "docs/models.md").read_text()
    assert counted.sub("", page_of(list_models())) == counted.sub("", written)


def test_weights_say_how_one_comes_by_them():
    text = page_of(["condconv_efficientnet_b0", "condconv_mobilenet_v1"])
    assert '- Weights: `weights="imagenet"`: [pytorch-image-models, timm/tf_efficientnet_cc_b0_8e' in text
    assert (
        '- Weights: `weights="imagenet", num_experts=4`: [pytorch-image-models, timm/tf_efficientnet_cc_b0_4e' in text
    )
    assert "- Weights: to be fetched by hand and imported: [the authors" in text
    assert "- Weights: none are published; `train.py --weights=imagenet` starts it from those of `mobilenet_v1`" in text


def test_placement_is_told():
    text = page_of(["condconv_mobilenet_v2", "condconv_resnet50", "condconv_ssd300_mobilenet_v1"])
    assert "CondConv: 8 experts from block 2 on, head convolution, classifier\n" in text
    assert "CondConv: 8 experts from stage 4 on, projection shortcuts\n" in text
    assert "CondConv: 8 experts from block 6 on, extra feature layers\n" in text


def test_a_detector_is_told_by_width():
    text = page_of(["ssd300_mobilenet_v1"])
    for width, millions, accuracy in (("1", 1230, 20.3), ("0.75", 730, 18.2), ("0.5", 352, 14.4)):
        line = f"- Paper at width {width}: {millions} M multiply-adds, {accuracy} % mAP; our count differs by -1.50 %"
        assert line in text
        index = f"| [`ssd300_mobilenet_v1`](#ssd300_mobilenet_v1), width {width} | 1,234,567 | 123.4 M | {millions} M |"
        assert f"{index} {accuracy} % mAP |" in text
    assert "train.py --weights=imagenet` starts it from those of `mobilenet_v1`\n" in text
    assert "--model=ssd300_mobilenet_v1 --dataset=coco/2014 --weights=imagenet --data_dir=DIR" in text


def test_markdown_writes_the_page(tmp_path):
    path = tmp_path / "models.md"
    assert main(["mobilenet_v1", "--markdown", str(path)]) == 0
    assert "| [`mobilenet_v1`](#mobilenet_v1) | 4,231,976 | 568.7 M | 567 M | 71.9 % top-1 |" in path.read_text()


@pytest.mark.parametrize("arguments", [["--markdown", "condconv_*"], ["--csv", "--markdown"]])
def test_wrong_arguments_are_one_line(arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert capsys.readouterr().err.count("\n") == 1
