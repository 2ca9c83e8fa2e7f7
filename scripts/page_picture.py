"""Takes README's picture of the page of an exported model: `python -m scripts.page_picture`.

It needs Chromium, npm and two minutes: a CondConv-MobileNetV1 of a quarter of the width, with four experts, is trained
on handwritten digits and exported with `--formats=web`, and the page answers to a held-out digit.
"""

import base64
import pathlib
import tempfile

from condconv_keras.utils.files import whole_file
from scripts.chromium import Chromium, served
from scripts.commands import call
from scripts.demo import write_images

PICTURE = pathlib.Path(__file__).resolve().parent.parent / "docs/images/web_page.png"
WIDTH, HEIGHT = 412, 915  # of a phone's screen, in its own units


def main():
    with tempfile.TemporaryDirectory() as folder:
        run, exported = f"{folder}/digits", f"{folder}/exported"
        call(
            "train.py",
            "--model=condconv_mobilenet_v1",
            "--width_multiplier=0.25",
            "--num_experts=4",
            f"--model_dir={run}",
        )
        call("-m", "export", f"--model={run}", f"--output_dir={exported}", "--formats=web")
        image = min(write_images(pathlib.Path(folder, "images")).iterdir())
        with whole_file(PICTURE) as partial:
            partial.write_bytes(picture_of(f"{exported}/web", image))
    print(f"wrote {PICTURE}")


def picture_of(page, image):
    """Returns the bytes of a PNG file that shows a page and what it answers to an image.

    Args:
        page: folder of the page.
        image: path of an image file.
    """
    with served(page) as address, Chromium() as browser:
        browser.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=True)
        browser.open(address)
        browser.wait("document.getElementById('file') && !document.getElementById('file').disabled")
        browser.choose_file("#file", image)
        browser.wait("!document.getElementById('answer').hidden")
        answer = browser.call("Page.captureScreenshot", format="png")
    return base64.b64decode(answer["data"])


if __name__ == "__main__":
    main()
