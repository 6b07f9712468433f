"""Machinery that every service needs, without a domain word in it.

Nothing here imports a service. Each service's `app.py` wires it.
"""
