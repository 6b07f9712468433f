"""The cell's replicas: which of them owns which partition, through etcd, and the way to the others."""
