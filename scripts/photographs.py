"""Writes the images that the examples of the guides use: `python -m scripts.photographs`.

`photo.jpg` and the class folders `photos/train/<class>/*.jpg` and `photos/validation/<class>/*.jpg`, parts of the two
photographs that scikit-learn carries, in the current folder. What is there already is kept.
"""

import pathlib
import random
import shutil

import PIL.Image
import sklearn.datasets

from condconv_keras.utils.files import whole_folder

_SOURCE = pathlib.Path(sklearn.datasets.__file__).parent / "images"
_CLASSES = {"flower": "flower.jpg", "temple": "china.jpg"}
_COUNTS = {"train": 16, "validation": 4}
_SIDE = 200  # pixels


def main():
    for name, write in (("photo.jpg", _write_photo), ("photos", _write_photos)):
        if pathlib.Path(name).exists():
            print(f"{name} is there already and was kept")
        else:
            write(name)
            print(f"wrote {name}")


def _write_photo(path):
    shutil.copy(_SOURCE / _CLASSES["temple"], path)


def _write_photos(path):
    chosen = random.Random(0)
    with whole_folder(path) as folder:
        for name, file in _CLASSES.items():
            with PIL.Image.open(_SOURCE / file) as image:
                for split, count in _COUNTS.items():
                    _write_parts(image, pathlib.Path(folder) / split / name, count, chosen)


def _write_parts(image, folder, count, chosen):
    folder.mkdir(parents=True)
    for number in range(count):
        left, top = chosen.randrange(image.width - _SIDE), chosen.randrange(image.height - _SIDE)
        image.crop((left, top, left + _SIDE, top + _SIDE)).save(folder / f"{number}.jpg")


if __name__ == "__main__":
    main()
