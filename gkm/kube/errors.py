"""What the API server answers when it does not do what was asked."""

from gkm.api.errors import Rejected, Retry
from gkm.core.retry import QUOTA_EXCEEDED, UNAVAILABLE

_FORBIDDEN = 403
_TOO_MANY = 429
_SERVER = 500


class ApiError(Exception):
    """An answer of 400 or above: HTTP ``status``, and the Status object's reason and message."""

    def __init__(
        self, status: int, reason: str, message: str, *, after: float | None = None
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.after = after

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """The object changed in between, exists already, or has another uid."""
        return self.status == 409

    @property
    def gone(self) -> bool:
        """The watch or page is too old: list again."""
        return self.status == 410

    def word(self) -> Retry | Rejected:
        """Say what helps: everything may heal, but for input that the API server finds invalid."""
        if self.status in (400, 422):
            return Rejected(self.reason, self.message)
        if self.status == _FORBIDDEN and "exceeded quota" in self.message:
            return Retry(QUOTA_EXCEEDED, self.message)
        busy = self.status == _TOO_MANY or self.status >= _SERVER
        reason = UNAVAILABLE if busy else self.reason
        return Retry(reason, self.message, after=self.after)
