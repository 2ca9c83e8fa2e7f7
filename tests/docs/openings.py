"""Sentences that open as those of a guide must not: with "Of", "What", "That of" or a bare participle."""

import re

# They look like participles and are not, or are nouns.
_NOUNS = ("Anything", "During", "Everything", "Need", "Nothing", "Routing", "Something", "Speed", "String", "Training")
_IRREGULAR = (
    *("Bound", "Broken", "Built", "Chosen", "Done", "Drawn", "Driven", "Fed", "Found", "Given", "Held", "Hidden"),
    *("Kept", "Known", "Left", "Made", "Meant", "Seen", "Sent", "Shown", "Split", "Taken", "Thrown", "Told", "Written"),
)
_OPENING = re.compile(rf"(Of|That of|Those of|What|[A-Z][a-z]+ed|[A-Z][a-z]+ing|{'|'.join(_IRREGULAR)})\b")


def bad_openings(text):
    """Returns the sentences of a plain text that open with what none may, a list.

    Args:
        text: sentences, with paragraphs between empty lines. What stands behind a colon counts as a sentence.
    """
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
    sentences = (sentence for paragraph in paragraphs for sentence in re.split(r"(?<=[.!?:])\s+", paragraph))
    return [sentence for sentence in sentences if _is_bad(sentence)]


def _is_bad(sentence):
    match = _OPENING.match(sentence)
    return match is not None and match[1] not in _NOUNS
