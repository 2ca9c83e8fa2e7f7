from condconv_keras.tasks.detection.reports import write_per_class_ap


def test_the_rows_of_the_classes(tmp_path):
    write_per_class_ap(tmp_path / "new/classes.csv", {"cat, tame": 0.1234567, "dog": None})
    assert (tmp_path / "new/classes.csv").read_text() == 'class,name,AP\n0,"cat, tame",0.123457\n1,dog,\n'
