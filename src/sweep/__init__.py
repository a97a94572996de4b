"""Many runs: which of them are missing, and the processes that run them."""
