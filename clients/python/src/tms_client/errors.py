"""Everything that can go wrong, by what its reader can do about it.

No text holds an API key, a token or an install token.
"""

from __future__ import annotations

import asyncio


class TMSError(Exception):
    """Anything that keeps TMS's answer from the caller."""


class ConfigurationError(TMSError):
    """The address is missing or unusable: set MULTI_TENANT_MANAGER_URL."""


class UnreachableError(TMSError, asyncio.TimeoutError):
    """TMS did not answer in time, refused the connection, or is not ready.

    It is an ``asyncio.TimeoutError`` because that is what Tracardi catches
    where it tells its users that TMS could not be reached. Trying again later
    helps; nothing is known about the tenant.
    """


class AuthorizationError(TMSError, PermissionError):
    """TMS refuses the API key: unknown, revoked, expired, or of a role too small.

    It is a ``PermissionError`` because that is what Tracardi turns into an
    answer that says why, rather than into an internal error.
    """


class UnexpectedAnswerError(TMSError):
    """What answers is not a TMS, or one that failed."""
