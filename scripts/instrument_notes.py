"""Notes as a standard MIDI file, the sound that fluidsynth makes from it, and its log-mel spectrogram."""

import dataclasses
import pathlib
import struct
import subprocess
import tempfile
import wave

import numpy as np
import scipy.fft

from condconv_keras.utils.errors import UserError

RATE = 16000  # samples a second
SIZE = 32  # bands and frames of a spectrogram
SLOT = 1.0  # seconds from one note to the next
_WINDOW, _HOP = 1024, 384  # samples: 64 and 24 ms; 32 frames take 0.81 s
_SILENCE = 950  # ms after which all sound of a slot is cut off
_LOWEST, _HIGHEST = 50.0, 8000.0  # Hz
_RANGE = 80.0  # dB from the loudest value to black
_BEND_RANGE = 200  # cents to either side, General MIDI's default


@dataclasses.dataclass(frozen=True)
class Note:
    """One or two keys pressed together.

    Attributes:
        keys: MIDI note numbers, 0 to 127.
        velocity: 1 to 127.
        cents: detuning, -200 to 199.
        start: ms from the start of the slot.
        duration: ms.
    """

    keys: tuple[int, ...]
    velocity: int
    cents: int
    start: int
    duration: int


def midi_file(program, notes):
    """Returns the bytes of a standard MIDI file (format 0, a tick is a millisecond) that plays a note each second.

    Args:
        program: General MIDI program, 0 to 127.
        notes: list of `Note`.
    """
    events = [(0, b"\xff\x51\x03" + (1000000).to_bytes(3)), (0, bytes([0xC0, program]))]
    for number, note in enumerate(notes):
        slot = round(number * SLOT * 1000)
        bend = 8192 + round(note.cents * 8192 / _BEND_RANGE)
        events.append((slot, bytes([0xE0, bend & 127, bend >> 7])))
        events += [(slot + note.start, bytes([0x90, key, note.velocity])) for key in note.keys]
        events += [(slot + note.start + note.duration, bytes([0x80, key, 64])) for key in note.keys]
        events.append((slot + _SILENCE, bytes([0xB0, 120, 0])))  # all sound off
    events.append((round(len(notes) * SLOT * 1000), b"\xff\x2f\x00"))
    track, now = b"", 0
    for time, event in events:
        track += variable_length(time - now) + event
        now = time
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1000) + b"MTrk" + struct.pack(">I", len(track)) + track


def variable_length(value):
    """Returns a whole number as MIDI writes times: seven bits a byte, the highest first, bit 7 set but in the last."""
    parts = [value & 127]
    while value := value >> 7:
        parts.append(value & 127 | 128)
    return bytes(reversed(parts))


def render(program, notes, sound_font):
    """Returns the sound of notes, `[len(notes), 16000]` float samples of one second each, the mean of both channels.

    Args:
        program: General MIDI program, 0 to 127.
        notes: list of `Note`.
        sound_font: path of a .sf2 file.

    Raises:
        UserError: fluidsynth is missing or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        midi, sound = pathlib.Path(folder) / "notes.mid", pathlib.Path(folder) / "notes.wav"
        midi.write_bytes(midi_file(program, notes))
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(RATE)]
        command += ["-O", "s16", "-T", "wav", "-F", str(sound), str(sound_font), str(midi)]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise UserError("there is no fluidsynth: apt-get install fluidsynth") from error
        if result.returncode or not sound.exists():
            raise UserError(f"fluidsynth failed: {' '.join(result.stderr.split())[-200:]}")
        with wave.open(str(sound)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    length = round(RATE * SLOT)
    whole = np.zeros(len(notes) * length)
    samples = samples[: len(whole)].mean(1) / 32768
    whole[: len(samples)] = samples
    return whole.reshape(len(notes), length)


def mel(hertz):
    """Returns the mel scale's value of a frequency: `2595 log10(1 + f / 700)` (the HTK book, 5.4)."""
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def mel_filters():
    """Returns the 32 triangular filters `[32, 513]` over the bins of the Fourier transform, each with a peak of 1.

    Their corners lie at equal distances in mel from 50 Hz to 8 kHz. A filter rises from one corner to the next and
    falls to the one after it, linearly in mel (the HTK book, 5.4).
    """
    corners = np.linspace(mel(_LOWEST), mel(_HIGHEST), SIZE + 2)
    bins = mel(np.arange(_WINDOW // 2 + 1) * RATE / _WINDOW)
    width = corners[1] - corners[0]
    return np.maximum(1 - np.abs(bins - corners[1:-1, None]) / width, 0)


def spectrograms(sound):
    """Returns the log-mel spectrograms of sounds as images.

    Args:
        sound: `[count, samples]` with at least 0.81 s of 16 kHz.

    Returns:
        A uint8 array `[count, 32, 32, 1]`: rows are bands, the highest first, columns are frames of 64 ms, every 24 ms.
        255 is the image's loudest value and 0 is 80 dB or more below it; silence is black.
    """
    frames = np.lib.stride_tricks.sliding_window_view(np.float32(sound), _WINDOW, axis=1)[:, : SIZE * _HOP : _HOP]
    waves = scipy.fft.rfft(frames * np.hanning(_WINDOW + 1)[:-1].astype(np.float32))
    energy = (waves.real**2 + waves.imag**2) @ mel_filters().T.astype(np.float32)
    loudest = energy.max((1, 2), keepdims=True)
    level = 10 * np.log10(np.maximum(energy, 1e-30) / np.maximum(loudest, 1e-30))
    images = np.where(loudest > 1e-9, np.clip(1 + level / _RANGE, 0, 1), 0)
    return np.round(255 * images).astype(np.uint8).transpose(0, 2, 1)[:, ::-1, :, np.newaxis]
