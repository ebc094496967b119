"""One module per path: read the parameters, make one call, and respond."""
