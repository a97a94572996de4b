"""How good a trained network is: scores under every protocol, and pictures of what it gets right and wrong."""
