"""One module per path: its handlers read the parameters, make one call and respond."""
