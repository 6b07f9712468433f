"""Rules, dashboards and runbooks of what watches a cell."""
