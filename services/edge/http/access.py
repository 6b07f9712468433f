"""The access log: a line for each request that was served, with nothing of what its client sent but the method."""

import logging
from typing import Any, Final

from services.runtime.http.exchange import Exchange
from services.runtime.logs import FIELDS, noted

logger = logging.getLogger(__name__)

_MESSAGE: Final = "%s %s %d"


def tell(exchange: Exchange, route: str, status: int, duration_s: float) -> None:
    """Logs a request that was served; what was noted of it, its account and its call, stands in the line too."""
    if not logger.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {
        "method": exchange.method,
        "route": route,
        "status": status,
        "sent_bytes": exchange.sent_bytes,
        "duration_ms": round(duration_s * 1_000, 1),
        **noted(),
    }
    # Made by hand, because the usual way looks for the line that logs, which takes longer than all the rest.
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, _MESSAGE, (exchange.method, route, status), None)
    setattr(record, FIELDS, fields)
    record.is_kept = True
    logger.handle(record)
