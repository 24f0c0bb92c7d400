"""The two words that say what helps after a failure; any other exception is our bug.

Every layer raises these, so that one place (the operator's controller, the Job's exit code) can
decide what happens next. They carry words for a user, never a traceback.
"""


class Retry(Exception):  # noqa: N818 - the word says what to do next
    """The world may fix it: try again, not before ``after`` seconds if the other side said so."""

    def __init__(self, reason: str, message: str, *, after: float | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.after = after


class Rejected(Exception):  # noqa: N818 - the word says what to do next
    """Only new input (another image, another spec) can help: trying again changes nothing."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
