"""What a Tracardi container asks a tenant management service (TMS).

``MultiTenantManager`` authorizes with an API key, says whether a tenant may be
served, and lists the tenants. Everything that can go wrong is a ``TMSError``.
"""

from .errors import (
    AuthorizationError,
    ConfigurationError,
    TMSError,
    UnexpectedAnswerError,
    UnreachableError,
)
from .manager import MultiTenantManager
from .tenant import Tenant

__all__ = [
    "AuthorizationError",
    "ConfigurationError",
    "MultiTenantManager",
    "TMSError",
    "Tenant",
    "UnexpectedAnswerError",
    "UnreachableError",
]
