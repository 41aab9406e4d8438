"""The certificate with which the hub speaks TLS."""

from __future__ import annotations

import logging
import ssl
import stat
from pathlib import Path

from storage.errors import StorageFault

log = logging.getLogger(__name__)


class Certificate:
    """A certificate and its key, in two files that may be renewed while they are in use."""

    def __init__(self, certificate: str, key: str, directory: Path) -> None:
        """Load them; paths are relative to `directory`.

        Raises:
            StorageFault: a file cannot be used.
        """
        self._certificate = directory / Path(certificate).expanduser()
        self._key = directory / Path(key).expanduser()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._stamps()
        self._load(self.context)

    def renew(self) -> None:
        """Take up files that were changed. When the new ones cannot be used the old ones stay, and the log says why."""
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return
            self._seen = stamps
            # First into another context: half of a pair must not end up in the one that serves.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except StorageFault as error:
            log.warning("the renewed certificate is not taken up: %s", error)
        else:
            log.info("the renewed certificate is in use")

    def _stamps(self) -> tuple[int, int]:
        """When the files were changed, in ns."""
        return _change_time(self._certificate, "http.tls_certificate"), _change_time(self._key, "http.tls_key")

    def _load(self, context: ssl.SSLContext) -> None:
        if stat.S_IMODE(self._key.stat().st_mode) & 0o007:
            raise StorageFault(f"Everybody on this machine can use the key in {self._key}: chmod o= {self._key}")
        try:
            context.load_cert_chain(self._certificate, self._key, password=self._no_password)
        except OSError as error:
            raise StorageFault(self._reason(error)) from error

    def _no_password(self) -> bytes:
        raise StorageFault(f"The key in {self._key} is encrypted. Write it without a password, for you alone to read.")

    def _reason(self, error: OSError) -> str:
        if not isinstance(error, ssl.SSLError):
            return f"The certificate {self._certificate} or its key {self._key} cannot be read: {error.strerror}."
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"The key in {self._key} is not the one of the certificate in {self._certificate}."
        return f"{self._certificate} and {self._key} are no certificate and private key in PEM form."


def _change_time(path: Path, setting: str) -> int:
    try:
        with path.open("rb"):
            return path.stat().st_mtime_ns
    except OSError as error:
        raise StorageFault(f"{setting}: {path} cannot be read: {error.strerror or error}.") from error
