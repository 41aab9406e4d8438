"""How many files and connections the hub may have open."""

from __future__ import annotations

import logging
import sys

OPEN_FILES = 65_536
logger = logging.getLogger(__name__)


def allow_open_files() -> None:
    """Raise the soft limit of open files, which is 256 or 1,024 on many systems: a remote client takes up to two."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError) as error:  # a system with another limit behind this one
        logger.warning("no more than %d files can be open at once: %s", soft, error)
