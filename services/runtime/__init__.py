"""Machinery every service needs, without a domain word in it.

Nothing here imports a service. What a service does with it is wired in that service's `app.py`.
"""
