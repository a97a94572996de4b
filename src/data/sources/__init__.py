"""Where data sets come from: Oxford-IIIT Pet, and any pair of folders."""
