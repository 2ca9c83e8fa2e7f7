"""The folder of a page: what is in it, and that it needs no other server."""

import json
import re

import numpy as np
import pytest

from condconv_keras.commands import export as command
from condconv_keras.export.check import export_check
from condconv_keras.export.formats import TFLITE
from condconv_keras.export.web import page as web_page
from condconv_keras.stored import StoredModel
from condconv_keras.tasks.classification import answers
from condconv_keras.utils.errors import UserError
from tests.export.test_main import export, parsed, saved  # noqa: F401 - fixtures
from tests.export.web.packages import write_archives

PAGE = web_page._PAGE
# What a browser would ask another server for. The license texts name addresses; nothing is loaded from there.
ADDRESS = re.compile(r"https?://|//cdn|\bwss?://")


@pytest.fixture
def litert(tmp_path, monkeypatch):
    """The flag that names stand-ins for LiteRT.js."""
    return f"--litertjs={write_archives(tmp_path / 'archives', monkeypatch)}"


def texts(folder):
    """The texts that a browser is served from a folder, by name; licenses are none of the page's."""
    suffixes = (".html", ".js", ".css", ".json", ".txt")
    return {path.name: path.read_text() for path in folder.rglob("*") if path.suffix in suffixes}


def test_the_script_is_one_and_short():
    for script in PAGE.glob("*.js"):
        assert len(script.read_text().splitlines()) < 300
    html = (PAGE / "index.html").read_text()
    assert re.findall(r"<script.*?>(.*?)</script>", html) == [""]
    assert not re.search(r"\son\w+=|style=", html)


def test_a_policy_keeps_other_servers_out():
    policy = re.search(r'Content-Security-Policy"\s+content="(.*?)"', (PAGE / "index.html").read_text(), re.DOTALL)
    directives = dict(part.split(maxsplit=1) for part in policy[1].split(";"))
    assert directives["default-src"] == "'none'"
    allowed = {source for sources in directives.values() for source in sources.split()}
    assert allowed == {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:", "data:"}


def test_what_is_written(export, saved, litert, tmp_path, capsys):  # noqa: F811
    results = export(f"--model={saved}", f"--output_dir={tmp_path / 'out'}", "--formats=web", litert)
    page = tmp_path / "out/web"
    assert {path.name for path in page.iterdir()} == {
        "index.html", "app.js", "prepare.js", "style.css", "model.tflite", "model.json", "labels.txt", "litert"
    }  # fmt: skip
    assert (page / "model.tflite").read_bytes() == (tmp_path / "out/model_dynamic.tflite").read_bytes()
    size = sum(path.stat().st_size for path in page.rglob("*") if path.is_file())
    assert results["web"] == {"folder": "web", "made_of": "model_dynamic.tflite", "bytes": size, "litertjs": "2.5.3"}
    card, outer = (json.loads((folder / "model.json").read_text()) for folder in (page, page.parent))
    assert outer["web"] == results["web"]
    assert card["files"] == [{**outer["files"][0], "file": "model.tflite"}]
    assert card["files"][0]["routing_outputs"]
    assert str(tmp_path) not in (page / "model.json").read_text()
    assert {name: text for name, text in texts(page).items() if ADDRESS.search(text)} == {}
    images = np.zeros((1, 32, 32, 1), np.float32)
    given = [StoredModel.open(path).predictor().predict(images) for path in (page / "model.tflite", saved)]
    np.testing.assert_allclose(*given, atol=0.05)


def test_how_to_open_it_is_said(parsed, saved, litert, tmp_path, monkeypatch):  # noqa: F811
    flags = (f"--model={saved}", f"--output_dir={tmp_path / 'o ut'}", "--formats=web", "--norouting_outputs", litert)
    monkeypatch.setattr(command, "FLAGS", parsed(*flags))
    text, code = command.main(["export"])
    assert code == 0
    folder = tmp_path / "o ut/web"
    assert text.splitlines()[-1].endswith(
        f"run `python -m http.server --directory '{folder}'` and open http://localhost:8000"
    )
    assert "routing_outputs" not in json.loads((folder / "model.json").read_text())["files"][0]


def test_addresses_are_found():
    for text in ("import 'https://example.com/x.js'", 'src="//cdn.example.com"', "new WebSocket('ws://x')"):
        assert ADDRESS.search(text)


def facts(**sizes):
    files = {
        mode: {"file": TFLITE[mode].file_name, "quantization": mode, "bytes": size} for mode, size in sizes.items()
    }
    return [{"file": "saved_model", "quantization": None, "bytes": 1}, *files.values()]


def test_the_smallest_file_is_chosen():
    chosen = lambda mode, files: web_page.WebPage({}, mode)._chosen(files)["quantization"]  # noqa: E731
    assert chosen(None, facts(none=40, int8=12, dynamic=11)) == "dynamic"
    assert chosen(None, facts(none=40, int8=12)) == "int8"
    assert chosen("none", facts(none=40, int8=12)) == "none"
    for mode, files, which in ((None, facts(), "a .tflite file"), ("int8", facts(none=40), "the int8 file")):
        with pytest.raises(UserError, match=f"the page needs {which}, and none has passed its check"):
            chosen(mode, files)


def test_a_page_whose_file_is_refused_is_refused(parsed, saved, litert, tmp_path, monkeypatch, capsys):  # noqa: F811
    passed = answers.Comparison(16, 0.0, 200.0, 16, 0.0)

    def check(self, path, file_format):
        if file_format.quantization == "dynamic":
            raise export_check.Differs(f"{path.name} differs", {"images": 16})
        return passed, None

    monkeypatch.setattr(export_check.ExportCheck, "__call__", check)
    flags = ("--formats=web", "--quantization=none,dynamic", "--web_quantization=dynamic", "--json", litert)
    monkeypatch.setattr(command, "FLAGS", parsed(f"--model={saved}", f"--output_dir={tmp_path / 'out'}", *flags))
    text, code = command.main(["export"])
    assert code == 1
    results = json.loads(text)
    assert results["web"] is None
    assert [refused["file"] for refused in results["refused"]] == ["model_dynamic.tflite", "web"]
    assert "the page needs the dynamic file, and none has passed its check" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.tflite", "model.json", "labels.txt"}


def test_without_litert_js_nothing_is_begun(parsed, saved, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(StoredModel, "load_to_answer", None)
    flags = (f"--model={saved}", f"--output_dir={tmp_path / 'out'}", "--formats=web")
    monkeypatch.setattr(command, "FLAGS", parsed(*flags))
    with pytest.raises(UserError, match="there is no `npm` here"):
        command.main(["export"])
    assert not (tmp_path / "out").exists()
