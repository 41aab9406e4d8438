"""Where one-time codes go."""

from __future__ import annotations

import os
import smtplib
import ssl
import sys
from email.message import EmailMessage
from typing import Protocol

import anyio

from server.config import SignInSettings

SECONDS = 20.0


class SendFailed(Exception):
    """A message could not be sent. The text says why, and not what was in it."""


class Sender(Protocol):
    """Brings a message to a person."""

    async def send(self, address: str, subject: str, text: str) -> None:
        """Send a message.

        Raises:
            SendFailed: it could not be.
        """
        ...


class Console:
    """Prints what it is to send where `one-mcp serve` runs: its owner passes it on."""

    async def send(self, address: str, subject: str, text: str) -> None:
        """Print a message. Not to the log: a code is a secret."""
        sys.stdout.write(f"\nTo {address}: {subject}\n{text}\n")
        sys.stdout.flush()


class Smtp:
    """A mail server."""

    def __init__(self, settings: SignInSettings) -> None:
        self._settings = settings

    async def send(self, address: str, subject: str, text: str) -> None:
        """Give a message to the mail server.

        Raises:
            SendFailed: it did not take it.
        """
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._settings.sender_address, address, subject
        message.set_content(text)
        try:
            await anyio.to_thread.run_sync(self._deliver, message)
        except (OSError, smtplib.SMTPException) as error:
            raise SendFailed(f"{self._settings.smtp_host}: {type(error).__name__}") from error

    def _deliver(self, message: EmailMessage) -> None:
        settings, context = self._settings, ssl.create_default_context()
        place = (settings.smtp_host, settings.smtp_port)
        direct = settings.smtp_security == "tls"
        with (
            smtplib.SMTP_SSL(*place, timeout=SECONDS, context=context)
            if direct
            else smtplib.SMTP(*place, timeout=SECONDS)
        ) as server:
            if settings.smtp_security == "starttls":
                server.starttls(context=context)
            if settings.smtp_user:
                server.login(settings.smtp_user, os.environ.get(settings.smtp_password_env, ""))
            server.send_message(message)


def sender_of(settings: SignInSettings) -> Sender:
    """The sender that the settings choose."""
    return Smtp(settings) if settings.sender == "smtp" else Console()
