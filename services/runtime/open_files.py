"""Files that a process may open, sockets among them: the system's usual 1,024 are taken by a few hundred clients."""

import resource


def raised_open_files() -> int:
    """The number of files that this process may open, raised to the most that it may allow itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1_048_576
