"""Prints the models with their size and cost: `python -m models --help`."""

from condconv_keras.commands.models import run

if __name__ == "__main__":
    run()
