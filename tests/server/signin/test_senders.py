"""Where one-time codes go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from server.config import SignInSettings, load_settings
from server.signin.senders import Console, SendFailed, Smtp, sender_of
from tests.clients import Swarm


class MailServer:
    """Takes mail, or says what is wrong with it."""

    def __init__(self, refuses: str = "") -> None:
        self._refuses = refuses
        self.taken: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode():
            verb = line.split()[0].upper()
            if verb == "DATA":
                writer.write(b"354 go on\r\n")
                self.taken.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                writer.write(b"250 taken\r\n")
            elif verb == self._refuses:
                writer.write(b"550 not to them\r\n")
            else:
                writer.write(b"221 bye\r\n" if verb == "QUIT" else b"250 fine\r\n")
                if verb == "QUIT":
                    break
        writer.close()


@contextlib.asynccontextmanager
async def mail(swarm: Swarm, server: MailServer) -> AsyncIterator[SignInSettings]:
    """The settings for a mail server that runs."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    smtp = {"sender": "smtp", "smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none"}
    settings = load_settings(swarm.directory, environment=False, overrides={"sign_in": smtp}).sign_in
    try:
        yield settings
    finally:
        listening.close()
        await listening.wait_closed()


async def test_a_mail_server_gets_the_code(shared: Swarm) -> None:
    server = MailServer()
    async with mail(shared, server) as settings:
        sender = sender_of(settings)
        assert isinstance(sender, Smtp)
        await sender.send("ann@example.org", "Your one-time code", "123456 is your code\n")
    (message,) = server.taken
    assert "To: ann@example.org" in message
    assert "From: one-mcp@localhost" in message
    assert "123456 is your code" in message


async def test_what_is_not_taken_is_said_without_the_code(shared: Swarm) -> None:
    async with mail(shared, MailServer(refuses="RCPT")) as settings:
        with pytest.raises(SendFailed, match="SMTPRecipientsRefused") as refused:
            await Smtp(settings).send("ann@example.org", "Your one-time code", "123456")
        assert "123456" not in str(refused.value)
        unsafe = settings.model_copy(update={"smtp_security": "starttls"})
        with pytest.raises(SendFailed, match="SMTPNotSupportedError"):
            await Smtp(unsafe).send("ann@example.org", "Your one-time code", "123456")
    with pytest.raises(SendFailed):
        await Smtp(settings).send("ann@example.org", "Your one-time code", "123456")


async def test_without_a_mail_server_the_owner_sees_the_code(shared: Swarm, capsys: pytest.CaptureFixture[str]) -> None:
    sender = sender_of(load_settings(shared.directory, environment=False).sign_in)
    assert isinstance(sender, Console)
    await sender.send("ann@example.org", "Your one-time code", "123456 is your code\n")
    assert "To ann@example.org: Your one-time code\n123456 is your code" in capsys.readouterr().out
