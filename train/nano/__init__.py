"""Small models of our own: made from a config, trained in a plain loop on a CPU, exported for the server."""
