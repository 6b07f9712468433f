"""The edge's side of charging: sessions' operations on their way to the owners, and Releases that wait on disk."""
