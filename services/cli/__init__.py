"""The command line: runs services, alone or all in one process, and administers and measures a running system.

It holds no rule of charging: commands ask the edge's administrative API, or compose services and ask their RPCs. Modules are
imported only by the command that needs them, so that each command starts fast.
"""
