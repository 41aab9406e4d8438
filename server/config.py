"""Settings: what `config.toml` says, with what a data directory, the environment and arguments say above it.

The shipped `config.toml` is the one place where defaults are declared; the models here say what is allowed.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from server.config_values import Network, Url

if TYPE_CHECKING:
    from storage.sql.limits import Limits

_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "string_too_short": "text of at least one character",
    "list_type": "a list",
    "bool_type": "true or false",
}
_MEMORY = re.compile(r"\d+(\.\d+)?\s?[KMGT]i?B", re.IGNORECASE)


class SettingsError(ValueError):
    """The settings cannot be used. The text is a sentence: where, which key and value, what is allowed."""


def _memory(text: str) -> str:
    if not _MEMORY.fullmatch(text):
        raise PydanticCustomError("memory", "Input should be an amount of memory such as '512MB' or '4GB'")
    return text


def _zone(name: str) -> str:
    try:
        return name and ZoneInfo(name).key
    except (LookupError, ValueError, OSError) as error:  # unknown, not a name, a folder of the database
        message = "Input should be empty or an IANA time zone such as 'Europe/Berlin'"
        raise PydanticCustomError("zone", message) from error


Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class HubSettings(_Section):
    """[hub]"""

    idle_exit_seconds: Seconds
    transport: Literal["auto", "unix", "tcp"]
    log_level: Literal["debug", "info", "warning", "error"]


class HttpSettings(_Section):
    """[http]"""

    host: Text
    port: Annotated[int, Field(ge=0, le=65535)]
    tls_certificate: str
    tls_key: str
    behind_proxy: bool
    trusted_proxies: list[Network]
    public_url: Url
    allowed_hosts: list[Text]
    allowed_origins: list[Text]
    max_body_bytes: Count
    max_header_bytes: Annotated[int, Field(ge=4096)]
    max_connections: Count
    max_sessions: Count
    sessions_per_caller: Count
    requests_per_minute: Annotated[int, Field(ge=0)]
    burst_requests: Count
    concurrent_requests: Count
    concurrent_waits: Count
    wrong_tokens_per_minute: Count
    request_seconds: Seconds
    keep_alive_seconds: Seconds
    stalled_seconds: Seconds


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class OauthSettings(_Section):
    """[oauth]"""

    issuer: Url
    audience: str
    jwks_url: Url
    algorithms: Annotated[list[Algorithm], Field(min_length=1)]
    user_claim: Text
    verified_claim: str
    create_users: bool
    scope_claims: list[Text]
    read: list[Text]
    write: list[Text]
    analyst: list[Text]
    admin: list[Text]
    default_scopes: list[Literal["read", "write", "analyst", "admin"]]
    leeway_seconds: Annotated[float, Field(ge=0, le=300)]


class StorageSettings(_Section):
    """[storage]"""

    checkpoint_rows: Count
    checkpoint_idle_seconds: Seconds
    read_threads: Annotated[int, Field(ge=1, le=64)]
    duckdb_memory_limit: Annotated[str, AfterValidator(_memory)]


class AnalyticsSettings(_Section):
    """[analytics]"""

    max_age_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    query_seconds: Seconds
    query_memory: Annotated[str, AfterValidator(_memory)]
    query_temp: Annotated[str, AfterValidator(_memory)]
    query_rows: Count
    query_bytes: Annotated[int, Field(ge=1024)]

    @property
    def limits(self) -> Limits:
        """What a query may take."""
        from storage.sql.limits import Limits

        return Limits(self.query_seconds, self.query_memory, self.query_temp)


class CacheSettings(_Section):
    """[cache]"""

    rows_bytes: Bytes
    messages_bytes: Bytes


class EmbeddingSettings(_Section):
    """[embedding]"""

    provider: Literal["embedded", "openai", "multilingual", "none"]
    base_url: str
    model: str
    dims: Annotated[int, Field(ge=0, le=65536)]
    max_tokens: Annotated[int, Field(ge=32, le=32768)]
    query_prefix: str
    document_prefix: str
    api_key_env: str
    secrets_file: str
    timeout_seconds: Seconds
    idle_unload_seconds: Seconds


class IdempotencySettings(_Section):
    """[idempotency]"""

    keep_days: Count


class TimeSettings(_Section):
    """[time]"""

    zone: Annotated[str, AfterValidator(_zone)]


class SignInSettings(_Section):
    """[sign_in]"""

    enabled: bool
    allow_sign_up: bool
    one_time_codes: bool
    code_digits: Annotated[int, Field(ge=6, le=8)]
    code_minutes: Count
    sender: Literal["console", "smtp"]
    sender_address: Text
    smtp_host: str
    smtp_port: Annotated[int, Field(ge=1, le=65535)]
    smtp_security: Literal["starttls", "tls", "none"]
    smtp_user: str
    smtp_password_env: str
    invitation_days: Count
    reset_hours: Count
    access_token_seconds: Count
    refresh_token_days: Count
    session_days: Count
    browser_hours: Count
    register_clients: bool
    max_clients: Count
    client_documents: bool
    private_document_hosts: list[Text]
    password_chars: Count
    password_memory_kib: Annotated[int, Field(ge=64)]
    password_rounds: Count
    password_threads: Annotated[int, Field(ge=1, le=16)]


class Settings(_Section):
    """All settings; one attribute a section of `config.toml`."""

    hub: HubSettings
    http: HttpSettings
    oauth: OauthSettings
    sign_in: SignInSettings
    storage: StorageSettings
    analytics: AnalyticsSettings
    cache: CacheSettings
    embedding: EmbeddingSettings
    idempotency: IdempotencySettings
    time: TimeSettings
    warnings: list[str] = Field(default_factory=list, exclude=True)
    """A sentence for each unknown key that was left out: a warning in the hub, an error in `doctor`."""


KEYS: dict[str, dict[str, Any]] = {
    name: {key: item.annotation for key, item in field.annotation.model_fields.items()}
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, _Section)
}
"""Section -> key -> type."""


def shipped_config() -> Path:
    """The `config.toml` with the defaults: beside this module when installed, at the root in a checkout."""
    beside = Path(__file__).with_name("config.toml")
    return beside if beside.is_file() else Path(__file__).parents[1] / "config.toml"


def load_settings(
    data_dir: Path,
    *,
    config: Path | None = None,
    environment: bool = True,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """The settings for a data directory.

    Precedence: `overrides` ({section: {key: value}}, None counts as not given) > the environment
    (`ONE_SECTION__KEY`) > one file (`config`, else `ONE_CONFIG`, else `config.toml` in the data directory if
    there is one) > the shipped defaults. Without `environment` no variable is read, `ONE_CONFIG` included.
    Raises SettingsError for a file that cannot be read and for a value that is not allowed.
    """
    layers = _Layers()
    layers.add_file(shipped_config())
    if config is None and environment and os.environ.get("ONE_CONFIG"):
        config = Path(os.environ["ONE_CONFIG"]).expanduser()
    layers.add_file(config or data_dir / "config.toml", required=config is not None)
    if environment:
        layers.add_environment(os.environ)
    layers.add_overrides(overrides or {})
    return layers.settings()


class _Layers:
    """Values by section and key, each with where it was last set."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, Any]] = {section: {} for section in KEYS}
        self._origins: dict[tuple[str, str], str] = {}
        self._warnings: list[str] = []

    def add_file(self, path: Path, *, required: bool = True) -> None:
        origin = str(path)
        for section, content in _read(path, required).items():
            if section not in KEYS:
                self._unknown(origin, section)
            elif not isinstance(content, dict):
                raise SettingsError(f"{path}: {section} = {_shown(content)} is not allowed: it is a section.")
            else:
                for key, value in content.items():
                    self._set(origin, section, key, value)

    def add_environment(self, variables: Mapping[str, str]) -> None:
        for variable, text in sorted(variables.items()):
            section, separator, key = variable.removeprefix("ONE_").lower().partition("__")
            if variable.startswith("ONE_") and separator:
                kind = KEYS.get(section, {}).get(key)
                self._set(f"environment variable {variable}", section, key, _from_text(text, kind))

    def add_overrides(self, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        for section, values in overrides.items():
            for key, value in values.items():
                if value is not None:
                    self._set("command line", section, key, value)

    def settings(self) -> Settings:
        try:
            return Settings.model_validate({**self._values, "warnings": self._warnings})
        except ValidationError as error:
            raise SettingsError(" ".join(self._sentences(error))) from error

    def _set(self, origin: str, section: str, key: str, value: Any) -> None:
        if key not in KEYS.get(section, {}):
            self._unknown(origin, section, key)
            return
        self._values[section][key] = value
        self._origins[section, key] = origin

    def _unknown(self, origin: str, section: str, key: str = "") -> None:
        guess = _nearest(section, key)
        hint = f"; did you mean {guess}?" if guess else ""
        self._warnings.append(f"{origin}: unknown setting {_name(section, key)}{hint}")

    def _sentences(self, error: ValidationError) -> Iterator[str]:
        for problem in error.errors(include_url=False):
            section, key = (str(part) for part in problem["loc"][:2])
            value = _shown(self._values[section].get(key))
            place = f"{self._origins[section, key]}: {section}.{key} = {value}"
            yield f"{place} is not allowed: it must be {_allowed(problem)}."


def _read(path: Path, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: it is not encoded as UTF-8.") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not required:
            return {}
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from error


def _from_text(text: str, kind: Any) -> Any:
    """A variable's text as a value: TOML, but quotes and the brackets of a list may be left out."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    if get_origin(kind) is list and not isinstance(value, list):
        return [part.strip() for part in text.split(",") if part.strip()]
    return value if isinstance(value, str | list) or kind in (int, float, bool) else text


def _nearest(section: str, key: str) -> str | None:
    """The setting or [section] that an unknown one was most likely meant to be."""
    if section in KEYS and (found := difflib.get_close_matches(key, KEYS[section], n=1)):
        return _name(section, found[0])
    if section not in KEYS and (found := difflib.get_close_matches(section, KEYS, n=1)):
        return _name(found[0], key) if key in KEYS[found[0]] else f"[{found[0]}]"
    homes = {name: other for other, names in KEYS.items() for name in names}
    found = difflib.get_close_matches(key or section, homes, n=1)
    return _name(homes[found[0]], found[0]) if found else None


def _name(section: str, key: str) -> str:
    return f"{section}.{key}" if key else section


def _allowed(problem: ErrorDetails) -> str:
    """What pydantic expected, to follow "it must be"."""
    kind = _KINDS.get(problem["type"])
    if kind is None:
        return problem["msg"].removeprefix("Input should be ")
    return f"a list of {kind}" if len(problem["loc"]) > 2 else kind


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
