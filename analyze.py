"""Shows what the experts of a CondConv model learn: `python analyze.py --help`."""

from condconv_keras.commands.analyze import run

if __name__ == "__main__":
    run()
