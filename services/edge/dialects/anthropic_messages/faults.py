"""A vendor's error inside an answer."""

from typing import Any

from services.edge.vendors.vendor import VendorFault


def fault_in(fields: dict[str, Any]) -> VendorFault:
    """What an object of an error says."""
    error = fields.get("error")
    if not isinstance(error, dict):
        return VendorFault(200, message=error if isinstance(error, str) else "")
    code, kind, message = (
        str(error[name]) if isinstance(error.get(name), str | int) else "" for name in ("code", "type", "message")
    )
    return VendorFault(200, code, kind, message)
