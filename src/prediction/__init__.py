"""What a trained network says of an image: loaded as data from a run, probabilities, masks."""
