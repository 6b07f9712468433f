"""The operator's administration: accounts, keys, sales, the cell."""
