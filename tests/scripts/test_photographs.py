"""The images that the examples of the guides use."""

import PIL.Image

from condconv_keras.data import open_dataset
from scripts.photographs import main


def test_a_photograph_and_class_folders_that_the_library_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main()
    assert capsys.readouterr().out == "wrote photo.jpg\nwrote photos\n"
    with PIL.Image.open("photo.jpg") as image:
        assert min(image.size) >= 200
    photos = open_dataset("photos")
    assert (photos.class_names, photos.splits) == (("flower", "temple"), {"train": 32, "validation": 8})


def test_what_is_there_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_text("mine")
    (tmp_path / "photos").mkdir()
    main()
    assert capsys.readouterr().out.count("is there already and was kept") == 2
    assert (tmp_path / "photo.jpg").read_text() == "mine" and not list((tmp_path / "photos").iterdir())
