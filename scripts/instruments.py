r"""Renders instruments as a TFDS data set of spectrograms: `python -m scripts.instruments --output_dir=DIR`.

    apt-get install --no-install-recommends fluidsynth fluid-soundfont-gm timgm6mb-soundfont
    python -m scripts.instruments --output_dir=data
    python train.py --dataset=instruments --data_dir=data --model=condconv_mobilenet_v1 --model_dir=runs/instruments
    python eval.py --model=runs/instruments --split=unseen_sound_font

The first 120 programs of General MIDI, all but the sound effects, are the classes. An image is the log-mel spectrogram
of 0.8 seconds, 32x32, gray; no download. Each has one key from E2 to E6, in one of three images with a second one, and
its velocity, start, length and detuning by up to 30 cents are random. The splits:

- `train`: 42 of the 49 keys of each program, 12 images each.
- `test`: the other 7 keys of each program, drawn by lot, 12 images each. Second keys come from the same 7.
- `unseen_sound_font`: the test's keys with another sound font, where a program has other recordings.

`--validation_images=5760` holds out the last training images as the split `validation` and leaves the other two out:
for choosing a recipe. Training images lie in the order of keys, about 1,420 for one key of each program. They are a
little easier than the test's: the keys that are held out lie in training images as second keys, the test's in none.
Keys too high for a program are silent in a sound font, and these images are left out: 1.3%.
`sources.json` beside the data names the packages' versions, with a hash of each split.
"""

import hashlib
import pathlib
import re

import numpy as np
from absl import flags

from condconv_keras.commands import cli
from condconv_keras.utils.errors import UserError
from scripts import tfds_store
from scripts.instrument_notes import Note, render, spectrograms

NAME = "instruments"
VERSION = "1.0.0"
KEYS = range(40, 89)
TEST_KEYS = 7  # of each program
IMAGES_PER_KEY = 12
PACKAGES = ("fluidsynth", "fluid-soundfont-gm", "timgm6mb-soundfont")
SOUND_FONT = pathlib.Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
UNSEEN_SOUND_FONT = pathlib.Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
# General MIDI level 1, in its order; the last eight programs, the sound effects, are left out.
_CLASSES = """
acoustic grand piano, bright acoustic piano, electric grand piano, honky-tonk piano,
electric piano 1, electric piano 2, harpsichord, clavi,
celesta, glockenspiel, music box, vibraphone, marimba, xylophone, tubular bells, dulcimer,
drawbar organ, percussive organ, rock organ, church organ, reed organ, accordion, harmonica, tango accordion,
acoustic guitar (nylon), acoustic guitar (steel), electric guitar (jazz), electric guitar (clean),
electric guitar (muted), overdriven guitar, distortion guitar, guitar harmonics,
acoustic bass, electric bass (finger), electric bass (pick), fretless bass,
slap bass 1, slap bass 2, synth bass 1, synth bass 2,
violin, viola, cello, contrabass, tremolo strings, pizzicato strings, orchestral harp, timpani,
string ensemble 1, string ensemble 2, synth strings 1, synth strings 2,
choir aahs, voice oohs, synth voice, orchestra hit,
trumpet, trombone, tuba, muted trumpet, french horn, brass section, synth brass 1, synth brass 2,
soprano sax, alto sax, tenor sax, baritone sax, oboe, english horn, bassoon, clarinet,
piccolo, flute, recorder, pan flute, blown bottle, shakuhachi, whistle, ocarina,
lead 1 (square), lead 2 (sawtooth), lead 3 (calliope), lead 4 (chiff),
lead 5 (charang), lead 6 (voice), lead 7 (fifths), lead 8 (bass + lead),
pad 1 (new age), pad 2 (warm), pad 3 (polysynth), pad 4 (choir),
pad 5 (bowed), pad 6 (metallic), pad 7 (halo), pad 8 (sweep),
fx 1 (rain), fx 2 (soundtrack), fx 3 (crystal), fx 4 (atmosphere),
fx 5 (brightness), fx 6 (goblins), fx 7 (echoes), fx 8 (sci-fi),
sitar, banjo, shamisen, koto, kalimba, bag pipe, fiddle, shanai,
tinkle bell, agogo, steel drums, woodblock, taiko drum, melodic tom, synth drum, reverse cymbal
"""
CLASS_NAMES = re.split(r",\s+", _CLASSES.strip())

FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    output = tfds_store.new_data_set(FLAGS.output_dir, NAME)
    tfds_store.check_held_out(FLAGS.validation_images, len(CLASS_NAMES) * (len(KEYS) - TEST_KEYS) * IMAGES_PER_KEY)
    check_sound_fonts()
    splits = gathered([draw(program) for program in range(len(CLASS_NAMES))])
    return tfds_store.store(
        tfds_store.hold_out(splits, FLAGS.validation_images),
        output,
        name=NAME,
        version=VERSION,
        class_names=CLASS_NAMES,
        homepage="https://packages.debian.org/bookworm/fluid-soundfont-gm",
        sources={"versions": tfds_store.package_versions(PACKAGES)},
    )


def check_sound_fonts():
    """Raises a `UserError` that names the packages if a sound font is missing."""
    for sound_font in (SOUND_FONT, UNSEEN_SOUND_FONT):
        if not sound_font.exists():
            raise UserError(f"there is no {str(sound_font)!r}: apt-get install {' '.join(PACKAGES)}")


def keys_of(program):
    """Returns the keys of a program to train on and those of the test, as lists in an order drawn by lot."""
    order = sorted(KEYS, key=lambda key: hashlib.sha256(f"{program} {key}".encode()).digest())
    return order[TEST_KEYS:], order[:TEST_KEYS]


def notes_of(keys, seed):
    """Returns random notes, `IMAGES_PER_KEY` of each key in the order of the keys, as a list of `Note`.

    Args:
        keys: list of MIDI note numbers; second keys come from it, too.
        seed: of NumPy's generator.
    """
    random = np.random.default_rng(seed)
    notes = []
    for key in np.repeat(keys, IMAGES_PER_KEY):
        second = int(random.choice(keys))
        pressed = (int(key), second) if random.random() < 1 / 3 and second != key else (int(key),)
        velocity, cents = random.integers(30, 128), random.integers(-30, 31)
        start, duration = random.integers(0, 121), random.integers(250, 551)
        notes.append(Note(pressed, int(velocity), int(cents), int(start), int(duration)))
    return notes


def draw(program):
    """Returns the images of one program by split, as a dict of uint8 arrays `[count, 32, 32, 1]`.

    The keys of `train` and `test` lie in the order of `keys_of`.
    """
    train, test = keys_of(program)
    seen = notes_of(train, [0, program])
    images = spectrograms(render(program, seen + notes_of(test, [1, program]), SOUND_FONT))
    other = spectrograms(render(program, notes_of(test, [2, program]), UNSEEN_SOUND_FONT))
    return {"train": images[: len(seen)], "test": images[len(seen) :], "unseen_sound_font": other}


def gathered(programs):
    """Returns the images and labels of all programs by split.

    Args:
        programs: list of the dicts of `draw`.

    Returns:
        A dict of pairs of images and int64 labels. The first key of each program comes first, `IMAGES_PER_KEY` images
        each, then the second key of each, and so on. Silent images are left out.
    """
    splits = {}
    for split in programs[0]:
        images = np.stack([by_split[split] for by_split in programs])
        shape = (len(programs), -1, IMAGES_PER_KEY, *images.shape[2:])
        by_key = images.reshape(shape).swapaxes(0, 1)
        labels = np.broadcast_to(np.arange(len(programs))[:, None], by_key.shape[:3])
        flat = by_key.reshape(-1, *images.shape[2:])
        heard = flat.any((1, 2, 3))
        splits[split] = flat[heard], labels.reshape(-1)[heard]
    return splits


if __name__ == "__main__":
    tfds_store.define_flags()
    cli.run(main)
