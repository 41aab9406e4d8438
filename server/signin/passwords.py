"""Hashes of what people can remember: passwords and one-time codes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from server.config import SignInSettings

T = TypeVar("T")

WAITING = 32
"""Hashes that may wait for their turn; more are refused at once."""
LONGEST = 1024
"""Characters of a password, at most."""


class Busy(Exception):
    """Too many hashes are to be made at once."""


class Passwords:
    """Makes and checks hashes with argon2id, a few at once: guessing cannot take every core."""

    def __init__(self, settings: SignInSettings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.password_rounds, memory_cost=settings.password_memory_kib, parallelism=1
        )
        self._threads = ThreadPoolExecutor(settings.password_threads, thread_name_prefix="one-password")
        self._room = settings.password_threads + WAITING
        self._nobodys = self._hasher.hash("")
        self.checks = 0
        """How many secrets were compared, good ones and wrong ones."""

    async def hash(self, secret: str) -> str:
        """What is stored of a secret.

        Raises:
            Busy: too many wait.
        """
        return await self._run(self._hasher.hash, secret)

    async def fits(self, stored: str | None, secret: str) -> bool:
        """Whether a secret is the one of a hash. Without a hash it is not, and that takes as long to say.

        Raises:
            Busy: too many wait.
        """
        self.checks += 1
        same = await self._run(self._same, stored or self._nobodys, secret)
        return same and stored is not None

    def is_weak(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _same(self, stored: str, secret: str) -> bool:
        try:
            return self._hasher.verify(stored, secret)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., T], *arguments: str) -> T:
        if self._room <= 0:
            raise Busy
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._room += 1

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
