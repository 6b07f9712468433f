"""Rules, dashboards and settings of what watches a cell: Prometheus and Grafana."""
