"""Tables of training runs: what is missing of them is run, what is there is gathered; `python -m experiments`."""
