"""Mutators of folders: what files and folders are called, and where they lie."""

import os
import pathlib
import shutil

from tests.fuzz.image_mutators import IMAGES
from tests.fuzz.mutators import named, of_files, register

_PREFIXES = ("été", "\U0001f600", "a\nb", "-", "%s", "*")
_NAMES = ("train", "Train", "training", "val", "valid", "Validation", "test", "bird", "été", "a b", "x\ny", "n01440764")


# Files in folders of images.
@of_files(*IMAGES)
def a_hidden_file(path, rng):
    path.with_name(".hidden.png").write_bytes(b"no image")


@of_files(*IMAGES)
def a_text_beside(path, rng):
    path.with_name("README.md").write_text("no image")


@of_files(*IMAGES)
def a_pipe_beside(path, rng):
    pipe = path.with_name("pipe.png")
    if pipe.exists():
        return False
    os.mkfifo(pipe)


@of_files(*IMAGES)
def ending_in_capitals(path, rng):
    path.rename(path.with_suffix(path.suffix.upper()))


@of_files(*IMAGES)
def another_ending(path, rng):
    path.rename(path.with_suffix(rng.choice((".jpeg", ".jpg", ".webp", ".jfif", ".dib", ".txt", ".tif", ""))))


@of_files(*IMAGES)
def a_name_with_spaces(path, rng):
    path.rename(path.with_name(f"a 'name' of {path.name}"))


@of_files(*IMAGES)
def a_name_that_is_not_utf8(path, rng):
    os.rename(os.fsencode(path), os.fsencode(path.parent) + b"/caf\xe9" + os.fsencode(path.suffix))


@of_files(*IMAGES)
def a_name_of_other_letters(path, rng):
    path.rename(path.with_name(rng.choice(_PREFIXES) + path.name))


@of_files(*IMAGES)
def behind_a_link(path, rng):
    if path.is_symlink():
        return False
    target = path.parent.parent / ".stored" / path.name
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    path.symlink_to(target)


@of_files(*IMAGES)
def a_link_that_leads_back(path, rng):
    link = path.parent / "again"
    if link.is_symlink():
        return False
    link.symlink_to(path.parent, target_is_directory=True)


@of_files(*IMAGES)
def a_link_to_nothing(path, rng):
    link = path.with_name(f"lost-{path.name}")
    if link.is_symlink():
        return False
    link.symlink_to("nowhere.png")


@of_files(*IMAGES)
def remove_an_image(path, rng):
    path.unlink()


@of_files(*IMAGES)
def another_copy(path, rng):
    path.with_name(f"copy-{path.name}").write_bytes(path.read_bytes())


@of_files(*IMAGES)
def deeper(path, rng):
    path.with_name("deeper").mkdir(exist_ok=True)
    path.rename(path.parent / "deeper" / path.name)


# Folders.
def _of_folders(change):
    """Decorates a function of the path of a folder with images, below that which is handed over."""

    def mutator(folder, rng):
        inside = {path.parent for path in folder.rglob("*") if path.suffix.lower() in IMAGES and path.is_file()}
        around = {outer for inner in inside for outer in (inner, *inner.parents)}
        folders = sorted(path for path in around if folder in path.parent.parents and ".stored" not in path.parts)
        return bool(folders) and change(rng.choice(folders), rng) is not False

    return register(change, named(mutator, change))


@_of_folders
def another_name(path, rng):
    other = path.with_name(rng.choice(_NAMES))
    if other.exists():
        return False
    path.rename(other)


@_of_folders
def an_empty_folder(path, rng):
    path.with_name("empty").mkdir(exist_ok=True)


@_of_folders
def a_copy_of_a_folder(path, rng):
    if pathlib.Path(f"{path} copy").exists() or any(place.is_fifo() for place in path.rglob("*")):
        return False
    shutil.copytree(path, f"{path} copy", symlinks=True)


@_of_folders
def a_folder_behind_a_link(path, rng):
    target = path.parent / ".stored" / path.name
    if path.is_symlink() or target.exists():
        return False
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    path.symlink_to(target, target_is_directory=True)


@_of_folders
def a_folder_that_is_not_utf8(path, rng):
    os.rename(os.fsencode(path), os.fsencode(path.parent) + b"/caf\xe9")


@_of_folders
def a_hidden_folder(path, rng):
    path.rename(path.with_name(f".{path.name}"))
