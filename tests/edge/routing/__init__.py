"""Tests of routes and what failures of vendors mean."""
