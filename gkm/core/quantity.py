"""Kubernetes resource quantities, as far as storage sizes go.

Format: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from decimal import ROUND_CEILING, Decimal

from gkm.api.errors import Rejected

_BINARY = {unit + "i": 1024**power for power, unit in enumerate("KMGTPE", start=1)}
_DECIMAL = {unit: 1000**power for power, unit in enumerate("kMGTPE", start=1)}
_UNITS = {"": 1, "m": Decimal("0.001"), **_BINARY, **_DECIMAL}
_QUANTITY = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(?:([eE][+-]?[0-9]+)|([KMGTPE]i|[mkMGTPE])?)")


def to_bytes(text: str) -> int:
    """Read a size such as ``2Gi`` or ``1e9`` as bytes, rounded up. Raises Rejected."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise Rejected("BadQuantity", f"storageSize is {text!r}, expected a size such as 2Gi")
    number, exponent, unit = match.groups()
    value = Decimal(number + (exponent or "")) * _UNITS[unit or ""]
    return int(value.to_integral_value(ROUND_CEILING))
