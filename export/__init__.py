"""The exporter under the name that a checkout has for it; the library is `condconv_keras`."""
