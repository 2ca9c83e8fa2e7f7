"""Trains and gathers tables of runs: `python -m experiments --help`."""

from condconv_keras.commands.experiments import run

if __name__ == "__main__":
    run()
