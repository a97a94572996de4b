"""Many runs: which of them are still to be done, and the processes that do them."""
