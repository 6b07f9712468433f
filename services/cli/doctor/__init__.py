"""`tokenline doctor`: what is wrong with a system, its data folder or a service's config, and what to do about it.

Nothing is changed, no call is paid for, and no check waits longer than two seconds. `finding` has the form of what is found;
`system` asks a running system, `folder` looks into a data folder, `config` into a service's config and all that it names.
"""
