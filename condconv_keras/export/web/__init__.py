"""A model in a browser: a folder with a page, a `.tflite` file and LiteRT.js, to be served as it is."""
