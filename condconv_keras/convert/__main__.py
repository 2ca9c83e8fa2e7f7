"""Gives a stored model experts: `python -m condconv_keras.convert --help`."""

from condconv_keras.commands.convert import run

if __name__ == "__main__":
    run()
