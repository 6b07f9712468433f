"""An account's state, and how each entry changes it. Replay uses nothing else."""
