"""Evaluates a stored model: `python eval.py --help`."""

from condconv_keras.commands.eval import run

if __name__ == "__main__":
    run()
