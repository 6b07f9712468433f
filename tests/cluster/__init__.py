"""A cell in the cluster that KUBECONFIG names. Not part of a plain run: `make test-cluster`."""
