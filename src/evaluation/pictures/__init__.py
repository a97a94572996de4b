"""Pictures of the worst, median and best images of an evaluation: panels of each, and a contact sheet of all."""
