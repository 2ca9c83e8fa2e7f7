"""Classifies images or detects objects in them: `python predict.py --help`."""

from condconv_keras.commands.predict import run

if __name__ == "__main__":
    run()
