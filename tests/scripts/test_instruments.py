"""MIDI files, spectrograms and the split rules of the rendered instruments, without fluidsynth."""

import subprocess
import wave

import numpy as np
import pytest

from condconv_keras.utils.errors import UserError
from scripts import instrument_notes, instruments
from scripts.instrument_notes import Note, mel, mel_filters, midi_file, render, spectrograms, variable_length

NOTE = Note(keys=(60,), velocity=100, cents=0, start=20, duration=300)


@pytest.mark.parametrize(
    ("value", "content"),
    # The table of the standard MIDI files' specification 1.0.
    [(0, "00"), (0x40, "40"), (0x7F, "7F"), (0x80, "81 00"), (0x2000, "C0 00"), (0x3FFF, "FF 7F"), (0x4000, "81 80 00"),
     (0x1FFFFF, "FF FF 7F"), (0x08000000, "C0 80 80 00"), (0x0FFFFFFF, "FF FF FF 7F")],
)  # fmt: skip
def test_variable_length(value, content):
    assert variable_length(value) == bytes.fromhex(content)


def test_the_bytes_of_a_midi_file():
    expected = """
        4D 54 68 64  00 00 00 06  00 00  00 01  03 E8
        4D 54 72 6B  00 00 00 20
        00 FF 51 03 0F 42 40
        00 C0 28
        00 E0 00 40
        14 90 3C 64
        82 2C 80 3C 40
        84 76 B0 78 00
        32 FF 2F 00
    """  # 0x3E8 ticks a beat of 0xF4240 us; program 40; bend in the middle; note on, off after 300; sound off; end
    assert midi_file(40, [NOTE]) == bytes.fromhex(expected)


def test_detuned_notes_of_two_keys_lie_a_second_apart():
    content = midi_file(0, [NOTE, Note((60, 67), 1, -30, 0, 250)])
    bend = 8192 - round(30 / 200 * 8192)  # the wheel's 8192 steps are two semitones
    second = bytes([50, 0xE0, bend & 127, bend >> 7, 0, 0x90, 60, 1, 0, 0x90, 67, 1]) + bytes.fromhex("81 7A 80 3C 40")
    assert second in content
    assert content.endswith(bytes.fromhex("85 3C B0 78 00 32 FF 2F 00"))


def test_mel_scale_and_filters():
    assert mel(0) == 0
    assert mel(1000) == pytest.approx(999.99, abs=0.01)  # the scale's fixed point, up to the constant's rounding
    assert mel(6300) == pytest.approx(2595)
    filters = mel_filters()
    assert filters.shape == (32, 513)
    # By hand: the corners lie (2840.023 - 77.755) / 33 = 83.705 mel apart, so the first filter's peak is at
    # 161.460 mel; the bin of 7 * 15.625 = 109.375 Hz has 163.624 mel.
    assert filters[0, 7] == pytest.approx(1 - (163.624 - 161.460) / 83.705, abs=1e-4)
    np.testing.assert_allclose(filters[:, 512], 0, atol=1e-12)  # 8 kHz, the last corner
    inner = slice(12, 472)  # between the first filter's peak and the last one's, two filters share each bin
    np.testing.assert_allclose(filters.sum(0)[inner], 1)
    assert ((filters > 0).sum(0) <= 2).all()


def _tone(hertz, start=0.0):
    time = np.arange(16000) / 16000
    return np.where(time >= start, np.sin(2 * np.pi * hertz * time), 0)


def test_a_tone_is_a_line_in_its_band():
    images = spectrograms(np.stack([_tone(440), _tone(4000), _tone(440, start=0.4)]))
    assert images.shape == (3, 32, 32, 1)
    for image, hertz in zip(images, (440, 4000), strict=False):
        band = round((float(mel(hertz)) - 77.755) / 83.705 - 1)
        assert (image.argmax(0) == 31 - band).all()  # the highest band is the first row
    late = images[2, :, :, 0].max(0)
    assert (late[:13] == 0).all()  # frame 13 ends at 13 * 24 + 64 = 376 ms
    assert (late[17:] > 200).all()  # frame 17 begins at 408 ms


def test_levels_are_relative_to_the_loudest_value():
    loud = _tone(1000)
    loud[8000:] /= 100  # 40 dB: half of the range of 80
    images = spectrograms(np.stack([loud, loud / 50, 0 * loud]))
    assert images[0].max() == 255
    np.testing.assert_allclose(images[0, :, 28:, 0].max(0), 255 / 2, atol=3)
    np.testing.assert_allclose(images[1].astype(int), images[0], atol=1)
    assert (images[2] == 0).all()


def test_keys_and_notes_of_the_splits_are_apart():
    for program in range(len(instruments.CLASS_NAMES)):
        train, test = instruments.keys_of(program)
        assert sorted(train + test) == list(range(40, 89))
        assert len(test) == 7
    notes = instruments.notes_of(test, [1, program])
    assert notes == instruments.notes_of(test, [1, program])
    assert [note.keys[0] for note in notes] == [key for key in test for _ in range(12)]
    assert {key for note in notes for key in note.keys} == set(test)
    assert {len(note.keys) for note in notes} == {1, 2}
    for note in notes:
        assert 30 <= note.velocity <= 127
        assert -30 <= note.cents <= 30
        assert note.start >= 0
        assert note.start + note.duration < 950
    assert instruments.keys_of(0)[1] != instruments.keys_of(1)[1]


def test_images_are_gathered_by_key_and_silent_ones_left_out():
    def images(program):
        # Two keys, twelve images each; each image's value says which it is.
        values = 100 * program + np.arange(1, 25, dtype=np.uint8)
        values[3] = 0
        return {"train": np.broadcast_to(values[:, None, None, None], (24, 32, 32, 1))}

    stacked, labels = instruments.gathered([images(0), images(1)])["train"]
    numbers = [number for number in range(1, 13) if number != 4]
    expected = [*numbers, *(100 + n for n in numbers), *range(13, 25), *range(113, 125)]
    assert stacked[:, 5, 5, 0].tolist() == expected
    assert labels.tolist() == [value // 100 for value in expected]


def test_the_names_of_the_programs():
    names = instruments.CLASS_NAMES
    assert len(set(names)) == len(names) == 120
    first = {0: "acoustic grand piano", 24: "acoustic guitar (nylon)", 40: "violin", 56: "trumpet", 112: "tinkle bell"}
    assert {number: names[number] for number in first} == first


def _fake(monkeypatch, write):
    def run(command, **options):
        write(command)
        return subprocess.CompletedProcess(command, 0, "", "a  fault")

    monkeypatch.setattr(subprocess, "run", run)


def test_sound_is_cut_into_seconds(monkeypatch):
    def write(command):
        assert command[0] == "fluidsynth"
        assert command[-2] == "font.sf2"
        with open(command[-1], "rb") as file:
            assert file.read() == midi_file(3, [NOTE, NOTE])
        with wave.open(command[command.index("-F") + 1], "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(16000)
            # A second at half of the range on the left only, and half a second, after which the file ends.
            left = np.repeat(np.array([16384, -8192], "<i2"), [16000, 8000])
            file.writeframes(np.stack([left, 0 * left], 1).tobytes())

    _fake(monkeypatch, write)
    sound = render(3, [NOTE, NOTE], "font.sf2")
    assert sound.shape == (2, 16000)
    np.testing.assert_allclose(sound[0], 0.25)
    np.testing.assert_allclose(sound[1], np.repeat([-0.125, 0], 8000))


def test_fluidsynth_that_fails_or_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="there is no fluidsynth: apt-get install fluidsynth"):
        render(0, [NOTE], "font.sf2")
    _fake(monkeypatch, lambda command: None)
    with pytest.raises(UserError, match="fluidsynth failed: a fault"):
        instrument_notes.render(0, [NOTE], "font.sf2")


def test_a_missing_sound_font_is_named(monkeypatch, tmp_path):
    font = tmp_path / "none.sf2"
    monkeypatch.setattr(instruments, "SOUND_FONT", font)
    with pytest.raises(UserError, match=r"none.sf2': apt-get install fluidsynth fluid-soundfont-gm timgm6mb-soundfont"):
        instruments.check_sound_fonts()
