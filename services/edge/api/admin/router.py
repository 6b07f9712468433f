"""The operator's administration over HTTP: all its routes, opened by the admin token alone.

Every amount is an integer of micro-units. A request with an idempotency key may be repeated.
"""

import hashlib
import hmac
from pathlib import Path
from typing import Any, Final

from litestar import Router
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from services.edge.api.admin.accounts import account_routes
from services.edge.api.admin.burning import burning_routes
from services.edge.api.admin.catalog import catalog_routes
from services.edge.api.admin.cell import cell_routes
from services.edge.api.admin.corrections import correction_routes
from services.edge.api.admin.entitlements import Sales
from services.edge.api.admin.explain import explain_routes
from services.edge.api.admin.grants import grant_routes
from services.edge.api.admin.identities import identity_routes
from services.edge.api.admin.journal import journal_routes
from services.edge.api.admin.keys import key_routes
from services.edge.api.admin.limits import limit_routes
from services.edge.api.admin.members import account_name_routes, member_routes
from services.edge.api.admin.orders import order_routes, subscription_routes
from services.edge.api.admin.phone_bill import phone_bill_routes
from services.edge.api.admin.statements import statement_routes
from services.edge.api.admin.transfers import transfer_routes
from services.edge.api.admin.vendors import vendor_check_routes
from services.edge.call.vendor_checks import VendorChecks
from services.edge.catalog import CatalogHolder
from services.edge.http.problems import invalid_admin_token
from services.edge.identity.actors import ADMINISTRATOR, let_in
from services.edge.identity.principals import bearer
from services.runtime.clock import Clock
from services.runtime.config import ConfigError
from services.runtime.http.asgi import exchange_of
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2_grpc
from tokenline.billing.v1 import billing_pb2_grpc

_TOKEN_CHARACTERS_MIN: Final = 16


def read_admin_token(path: Path) -> str:
    """Reads the token from the file. Errors: `ConfigError` when it can't be read, is too short or no token."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the admin token must be of ASCII characters") from error
    except OSError as error:
        raise ConfigError(f"{path}: the admin token cannot be read: {error.strerror}") from error
    if len(token) < _TOKEN_CHARACTERS_MIN or not token.isprintable() or " " in token:
        raise ConfigError(f"{path}: the admin token must be one word of at least {_TOKEN_CHARACTERS_MIN} characters")
    return token


def admin_router(
    token: str,
    catalog: CatalogHolder,
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub",
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    billing: "billing_pb2_grpc.BillingServiceAsyncStub",
    clock: Clock,
    checks: VendorChecks,
) -> Router:
    """All routes under /v1/admin."""
    expected = _digest(token.encode("ascii"))
    sales = Sales(catalog, authentication, accounting)

    def only_with_token(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        # Digests have one length, so that the comparison tells nothing of the token, not even its length.
        if not hmac.compare_digest(_digest(bearer(connection.scope["headers"]) or b""), expected):
            raise invalid_admin_token()
        let_in(connection, ADMINISTRATOR)
        exchange_of(connection.scope).known = True

    return Router(
        "/v1/admin",
        route_handlers=[
            *account_routes(accounting, authentication),
            *burning_routes(accounting),
            *account_name_routes(authentication),
            *member_routes(accounting, authentication, clock),
            *key_routes(accounting, authentication),
            *catalog_routes(catalog),
            *correction_routes(accounting),
            *grant_routes(accounting, authentication),
            *order_routes(sales),
            *identity_routes(sales),
            *subscription_routes(sales),
            *transfer_routes(accounting),
            *limit_routes(accounting, authentication),
            *journal_routes(accounting),
            *explain_routes(accounting, billing),
            *statement_routes(accounting, billing, catalog, clock),
            *phone_bill_routes(accounting, billing),
            *cell_routes(accounting, billing),
            *vendor_check_routes(catalog, checks),
        ],
        guards=[only_with_token],
    )


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
