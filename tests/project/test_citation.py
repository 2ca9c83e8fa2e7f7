"""CITATION.cff fits the schema of citation files, and names this version and the paper."""

import tomllib

import pytest
import yaml
from check_jsonschema import main as check
from click.testing import CliRunner

from tests.processes import ROOT

TEXT = (ROOT / "CITATION.cff").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def fits(text, folder):
    path = folder / "CITATION.cff"
    path.write_text(text)
    schema = ["--force-filetype", "yaml", "--builtin-schema", "vendor.citation-file-format"]
    finished = CliRunner().invoke(check, [*schema, str(path)])
    assert finished.exit_code in (0, 1), finished.output
    return finished.exit_code == 0


def test_it_fits_the_schema(tmp_path):
    assert fits(TEXT, tmp_path)


@pytest.mark.parametrize(("old", "new"), [("cff-version: 1.2.0\n", ""), ("type: software", "type: program")])
def test_one_with_a_fault_does_not(old, new, tmp_path):
    assert TEXT.count(old) == 1
    assert not fits(TEXT.replace(old, new), tmp_path)


def test_it_is_of_this_version_and_cites_the_paper():
    citation = yaml.safe_load(TEXT)
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == [dict(author) for author in PROJECT["authors"]]
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Yang", "Bender", "Le", "Ngiam"]
    assert (paper["year"], paper["url"]) == (2019, "https://arxiv.org/abs/1904.04971")
