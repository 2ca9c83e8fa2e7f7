"""The routing weights of a network on a data set, and what is counted of them."""
