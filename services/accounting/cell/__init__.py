"""The cell's replicas: the partitions that each owns, through etcd, and the way to the others."""
