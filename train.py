"""Trains a model: `python train.py --help`."""

from condconv_keras.commands.train import run

if __name__ == "__main__":
    run()
