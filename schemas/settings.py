"""Settings: what the environment decides, read once at the edge and handed inward.

The command line, the web console and the flows read them here; rules and stages never do. Storage
and Prefect keep their own standard variables (`AWS_…`, `PREFECT_…`), so they have no field here.
"""

import getpass
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa
from pydantic import AwareDatetime, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "RPMCLAIMS_"


def _user() -> str:
    """Name the user of this process, also in a container that has no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid-{os.getuid()}"


class SettingsError(ValueError):
    """A setting is wrong; the text is one plain sentence that never repeats the value."""


class Settings(BaseSettings):
    """Everything an operator may turn, from `RPMCLAIMS_…` variables and `.env`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(
        default=Path(".rpmclaims"), description="folder for the default ledger and working files"
    )
    ledger_url: str = Field(
        default="", repr=False, description="SQLAlchemy URL; empty means a SQLite file under home"
    )
    source: str | None = Field(default=None, repr=False, description="where scheduled runs find the data")
    output: str | None = Field(default=None, repr=False, description="where they leave the month's files")
    zone: str = Field(
        default="America/New_York", description="whose calendar decides when and which month a schedule bills"
    )
    outbox: str | None = Field(default=None, repr=False, description="where claim files are delivered")
    inbox: str | None = Field(
        default=None, repr=False, description="where the clearinghouse leaves its answers"
    )
    quiet_seconds: float = Field(
        default=2.0, ge=0, description="how long a file of the inbox must stay as it is before it is taken"
    )
    outbox_usage: Literal["T", "P"] | None = Field(
        default=None, description="the only usage (ISA15) that may go to the outbox; empty takes both"
    )
    sftp_host_key: str | None = Field(
        default=None,
        description="the public host key of the SFTP server, `ssh-ed25519 AAAA…`; no other is trusted",
    )
    sftp_password_file: Path | None = Field(default=None, description="file that holds the SFTP password")
    sftp_key_file: Path | None = Field(default=None, description="OpenSSH private key for SFTP")
    operator: str = Field(
        default_factory=_user, max_length=64, description="who starts runs; the OS user unless set"
    )
    approval_over_money: Decimal | None = Field(
        default=None, ge=0, description="charges of a month above which `submit` waits for an approval"
    )
    approval_over_claims: int | None = Field(default=None, ge=0, description="claims of a month, likewise")
    approval_over_quarantine_share: Decimal | None = Field(
        default=None, ge=0, le=1, description="share of refused rows of a month, 0 to 1, likewise"
    )
    runner: Literal["threads", "dask"] = "threads"
    workers: int = Field(default=4, ge=1, description="tasks that run at once")
    patients_per_bucket: int = Field(default=50_000, ge=1, description="bounds the memory of one task")
    log_format: Literal["text", "json"] = Field(default="text", description="how runs write to stderr")
    metrics_file: Path | None = Field(
        default=None, description="Prometheus text file, written anew after every run; `metrics.prom` in home"
    )
    now: AwareDatetime | None = Field(
        default=None, description="stops the clock, for demonstrations and tests"
    )

    @field_validator("ledger_url")
    @classmethod
    def _is_a_database_url(cls, url: str) -> str:
        try:
            backend = sa.make_url(url).get_backend_name() if url else "sqlite"
        except sa.exc.ArgumentError:
            raise ValueError("a database URL looks like postgresql+psycopg://user@host/name") from None
        if backend not in ("sqlite", "postgresql"):
            raise ValueError("only sqlite and postgresql can hold the ledger")
        return url

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Treat a variable that is set but empty, as compose files write it, as not set."""
        return {name: value for name, value in values.items() if value != ""}

    @model_validator(mode="after")
    def _fill_ledger_url(self) -> Self:
        if not self.ledger_url:
            url = f"sqlite:///{self.home.resolve() / 'ledger.sqlite'}"
            object.__setattr__(self, "ledger_url", url)
        return self

    @property
    def previews(self) -> Path:
        """Say where previews keep their frames while they run."""
        return self.home.resolve() / "previews"

    def clock(self) -> datetime:
        """Return the instant to stamp on records, in UTC: the real one unless `now` stops it."""
        return (self.now or datetime.now(UTC)).astimezone(UTC)

    def shown(self) -> dict[str, str]:
        """Return the settings as text fit for a screen or a log: passwords are masked."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        masked = ("ledger_url", "source", "output", "outbox", "inbox")
        return {
            f"{PREFIX}{name.upper()}": _without_password(str(value)) if name in masked else str(value)
            for name, value in values.items()
            if value is not None
        }


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: If one is wrong; the first is named, its value is not.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{PREFIX}{name} is wrong: {reason[:1].lower()}{reason[1:]}.") from None


def _without_password(address: str) -> str:
    """Mask the password of an address, whether a database's, an SFTP server's or a bucket's."""
    try:
        return sa.make_url(address).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return address
