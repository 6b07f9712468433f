"""The one writer of an account. Runs the rules for the partitions of this process, in batches, each answered after its commit."""
