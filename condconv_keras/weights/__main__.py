"""Imports published weights: `python -m condconv_keras.weights --help`."""

from condconv_keras.commands.weights import run

if __name__ == "__main__":
    run()
