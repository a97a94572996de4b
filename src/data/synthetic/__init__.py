"""Drawn animals in the official layout of Oxford-IIIT Pet."""
