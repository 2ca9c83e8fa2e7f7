"""Tables of runs under the name that a checkout has for them; the library is `condconv_keras`."""
