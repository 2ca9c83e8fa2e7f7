"""Exports a model: `python -m export --help`."""

from condconv_keras.commands.export import run

if __name__ == "__main__":
    run()
