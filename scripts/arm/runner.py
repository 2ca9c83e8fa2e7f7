"""Runs a `.tflite` file on images: `python runner.py FILE IMAGES ANSWERS`, on either processor.

IMAGES is an `.npy` file of what the file takes, one image after the other; ANSWERS is written, an `.npz` file of what
the signature returns for all of them, and `seconds`, the processor's time for each. It takes LiteRT and NumPy alone.
"""

import resource
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main():
    path, images, answers = sys.argv[1:]
    # An instruction that the processor lacks ends the process: its memory is of no use to anybody.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    interpreter = Interpreter(path, num_threads=1)
    run = interpreter.get_signature_runner("serving_default")
    found = {"seconds": []}
    for image in np.load(images):
        start = time.process_time()
        answer = run(images=image[np.newaxis])
        found["seconds"].append([time.process_time() - start])
        for name, values in answer.items():
            found.setdefault(name, []).append(values.copy())
    np.savez(answers, **{name: np.concatenate(values) for name, values in found.items()})


if __name__ == "__main__":
    main()
