"""How sentences of the documentation begin, and what finds those that begin badly."""

import pytest

from tests.docs.openings import bad_openings
from tests.docs.pages import all_pages, text_of

BAD = [
    "Of these, two fail.",
    "Of a detector the first three return boxes.",
    "What is missing is named.",
    "What you need is a phone.",
    "That of the twin is lower.",
    "Those of the twins are lower.",
    "Trained on digits, it gets 0.97.",
    "Measured in LiteRT with XNNPACK.",
    "Tried, all with 17: three widths.",
    "Left out are those without area.",
    "Left out.",
    "Given a folder, it reads all images.",
    "Written by `python -m models --markdown`.",
    "Fine-tuned on photos, it gets 0.97.",
    "Published: no figures.",
    "Using it, you save a minute.",
    "Using the smaller one saves a minute.",
    "Starting from published weights, the twin trains for two epochs.",
    "Missing is the file of labels.",
    "Measuring the time, we found two.",
    "Looking at the figures, classes split.",
    "Run on two cores, it takes a minute.",
    "Cut off by the edge, it is lost.",
    "Split by their hash, the images stay on one side.",
    "Read once, they are kept.",
    "Left unset, it is 0.",
    "Not measured on a phone.",
    "Once trained, it answers.",
    "Images have splits; of a data set of TFDS the last ones count.",
    "Two are left: those of the twin fail.",
    "It has two files; that of the twin is larger.",
]
GOOD = [
    "Training takes two minutes.",
    "Training on two cores takes two minutes, so start small.",
    "Training, evaluation and export read it.",
    "Routing is float32.",
    "Routing and mixing stay in float32, as the weights do.",
    "Setting a variable leaves that to you, which is rarely needed.",
    "Mixing kernels adds multiply-adds: about a quarter here, where images are tiny.",
    "Mixing kernels adds multiply-adds, where images are tiny.",
    "Adding, renaming or removing others moves none.",
    "During training, the routers move.",
    "Offers three ways out.",
    "Offsets of the anchors are in pixels.",
    "That folder is the run.",
    "That is all.",
    "Whatever the image, it computes the same.",
    "Published weights may ask for another size.",
    "Held-out images are counted once.",
    "Left-hand columns are plain networks.",
    "Left-hand columns, the plain ones, are networks.",
    "Need more? Run the next command.",
    "Run the command, then look.",
    "Run `make demo`, which trains a model.",
    "Read the page, the card and the log.",
    "Set the flag, and the run keeps it.",
    "Not every model has weights.",
    "Once the run ends, it is kept.",
    "It runs on two cores: measured there, it is fast; trained there, too.",
    "Set `--seed` first. Run it twice.",
    "The two of them fail, as those of the twin do, trained on digits.",
    "`of` is no word here. `--trained on` is none either.",
]


@pytest.mark.parametrize("sentence", BAD)
def test_a_bad_opening_is_found(sentence):
    assert bad_openings(sentence)[0] == sentence
    assert bad_openings(f"It works. {sentence} It works.") == bad_openings(sentence)


@pytest.mark.parametrize("text", GOOD)
def test_a_good_opening_is_not(text):
    assert bad_openings(text) == []


def test_headings_code_comments_and_labels_of_tables_are_no_sentences():
    text = """\
---
description: Of digits
---

# What you need

Setext, trained
---------------

<!-- Of digits -->
```bash
What is this
```

| Of the twin | Measured here |
|---|---|
| Digits | Pretrained |

![Of digits](a.png)

    What is indented is code.
"""
    assert bad_openings(text) == []


def test_items_quotations_and_cells_count():
    text = """\
- Of the first two, one fails. It is
  red. What is
  left is green.
  1. **Measured** on [two](a.md) cores.

> That of the twin is lower.

| x | Tried. Of these *two* fail. |
|---|---|
| a | Written here: Left out is b. |
| of `a` over all images | measured twice |
"""
    assert bad_openings(text) == [
        "Of the first two, one fails.",
        "What is left is green.",
        "Measured on two cores.",
        "That of the twin is lower.",
        "Of these two fail.",
        "Written here:",
        "Left out is b.",
        "of `a` over all images",
        "measured twice",
    ]


def test_several_sentences_are_found_in_their_order_as_they_stand():
    text = 'It runs (see "a"). Of these `b` fails! "What is c?" He asked: Given a d, e.'
    assert bad_openings(text) == ["Of these `b` fails!", '"What is c?"', "Given a d, e."]


def test_no_sentence_of_the_documentation_opens_badly():
    found = [f"{page}: {sentence}" for page in all_pages() for sentence in bad_openings(text_of(page))]
    assert found == [], "\n" + "\n".join(found)
