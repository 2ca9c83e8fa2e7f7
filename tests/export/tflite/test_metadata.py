"""What MediaPipe Tasks finds in a file: read here by the numbers of the fields in its schema, not by the writer's."""

import dataclasses
import io
import struct
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from flatbuffers.table import Table
from tensorflow.lite.tools import flatbuffer_utils

from condconv_keras.export.tflite.conversion import tflite_bytes
from condconv_keras.export.tflite.metadata import check_card, with_metadata
from condconv_keras.utils.errors import UserError
from tests.heads import CARD, HEADS, IMAGES, model_with

NAMES = ("tench", "goldfish, Carassius auratus", "grüner Frosch")
NAMED = dataclasses.replace(CARD, class_names=NAMES)


@pytest.fixture(scope="module")
def plain():
    return tflite_bytes(model_with(HEADS["softmax layer"]), CARD)


@pytest.fixture(scope="module")
def content(plain):
    return with_metadata(plain, NAMED)


class _Reader:
    """A table of a flatbuffer, whose fields are asked for by their number in the schema."""

    def __init__(self, buffer, position):
        self._table = Table(buffer, position)

    @classmethod
    def root(cls, buffer):
        return cls(buffer, struct.unpack_from("<I", buffer)[0])

    def _position(self, field):
        offset = self._table.Offset(4 + 2 * field)
        return offset and offset + self._table.Pos

    def text(self, field):
        return self._table.String(self._position(field)).decode()

    def byte(self, field):
        return self._table.Bytes[self._position(field)]

    def table(self, field):
        return _Reader(self._table.Bytes, self._table.Indirect(self._position(field)))

    def _items(self, field):
        # Relative to the table, which `Vector` adds.
        offset = self._table.Offset(4 + 2 * field)
        start = self._table.Vector(offset)
        return (start + 4 * i for i in range(self._table.VectorLen(offset)))

    def tables(self, field):
        return [_Reader(self._table.Bytes, self._table.Indirect(item)) for item in self._items(field)]

    def floats(self, field):
        return [struct.unpack_from("<f", self._table.Bytes, item)[0] for item in self._items(field)]


def test_the_tables(content):
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    (entry,) = [entry for entry in file.metadata if entry.name == b"TFLITE_METADATA"]
    buffer = bytearray(file.buffers[entry.buffer].data.tobytes())
    assert buffer[4:8] == b"M001"
    model = _Reader.root(buffer)
    assert (model.text(0), model.text(7)) == ("mine", "1.0.0")
    (graph,) = model.tables(3)
    (image,), (probabilities,) = graph.tables(2), graph.tables(3)
    assert (image.text(0), probabilities.text(0)) == ("images", "probabilities")
    # Of an image, in red, green, blue.
    assert (image.table(3).byte(0), image.table(3).table(1).byte(0)) == (2, 1)
    (normalization,) = image.tables(4)
    assert normalization.byte(0) == 1
    assert (normalization.table(1).floats(0), normalization.table(1).floats(1)) == ([0.0], [1.0])
    assert (image.table(5).floats(0), image.table(5).floats(1)) == ([255.0], [0.0])
    (labels,) = probabilities.tables(6)
    assert (labels.text(0), labels.byte(2)) == ("labels.txt", 2)


def test_the_labels_lie_behind_the_model_as_they_are(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (member,) = archive.infolist()
        assert archive.read(member).decode() == "tench\ngoldfish, Carassius auratus\ngrüner Frosch\n"
    assert (member.filename, member.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
    assert member.date_time == (1980, 1, 1, 0, 0, 0)


def test_the_model_answers_as_before(plain, content):
    answers = []
    for file in (plain, content):
        runner = Interpreter(model_content=file, num_threads=1).get_signature_runner("serving_default")
        answers.append(np.concatenate([runner(images=image[None])["probabilities"] for image in IMAGES]))
    np.testing.assert_array_equal(*answers)


def test_gray_images_are_refused():
    gray = dataclasses.replace(CARD, preprocessing=dataclasses.replace(CARD.preprocessing, channels=1))
    with pytest.raises(UserError, match="`metadata` is for models of color images"):
        check_card(gray)
    check_card(CARD)
