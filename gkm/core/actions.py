"""What a plan asks for. Values only: ``gkm.operator.apply`` carries them out.

Each is safe to repeat. ``copy`` says for which copy an action is, so that its failure can be shown
in the right place.
"""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
CLAIM = "PersistentVolumeClaim"
VOLUME = "PersistentVolume"
JOB = "Job"
POD = "Pod"
LOG = "Log"


@dataclass(frozen=True)
class Create:
    """POST ``body``; if the name is taken by an object of other labels, that is a failure."""

    kind: str
    body: Json
    copy: str


@dataclass(frozen=True)
class Patch:
    """Merge-patch an object; ``body`` holds a resourceVersion where the patch is fenced."""

    kind: str
    namespace: str
    name: str
    body: Json
    copy: str


@dataclass(frozen=True)
class Delete:
    """Delete exactly the object with this uid."""

    kind: str
    namespace: str
    name: str
    uid: str
    copy: str


@dataclass(frozen=True)
class DropStaging:
    """Delete an unfinished staging claim so that its volume goes with it.

    Unlike ``Delete`` it looks at the volume first: one of a class that retains volumes is told to
    be deleted, because nobody will ever ask for half a cache.
    """

    namespace: str
    name: str
    uid: str
    volume: str
    copy: str


@dataclass(frozen=True)
class Reserve:
    """Point the filled volume at the serving claim, after a live look at both."""

    namespace: str
    staging: str
    staging_uid: str
    volume: str
    serving: str
    labels: Json
    annotations: Json
    access_modes: tuple[str, ...]
    copy: str


@dataclass(frozen=True)
class Look:
    """A claim whose users are looked for, and the copy that it serves."""

    claim: str
    uid: str
    copy: str


@dataclass(frozen=True)
class CheckUse:
    """List the pods of a namespace, live and once, and note who names each of the claims."""

    namespace: str
    looks: tuple[Look, ...]

    @property
    def copy(self) -> str:
        """One of the copies that it is for; a failure concerns all of them."""
        return self.looks[0].copy


@dataclass(frozen=True)
class Inquire:
    """List the events of one claim, Job or pod, live, and note what they say.

    Of kind LOG: read the log of a pod, and note how far its extraction is.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    copy: str


@dataclass(frozen=True)
class Resolve:
    """Ask the registry what ``image`` is, with the logins of these Secrets."""

    image: str
    secrets: tuple[tuple[str, str], ...] = ()
    """(namespace, name) of each."""
    pinned: str = ""
    """The digest that the Cache is pinned to at the time."""


Write = Create | Patch | Delete | DropStaging | Reserve
Read = CheckUse | Inquire
Action = Write | Read | Resolve


@dataclass(frozen=True)
class Event:
    """A Kubernetes event on the Cache; ``type`` is Normal or Warning."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What to do about one Cache now, what to report, and when to look again (epoch seconds)."""

    actions: tuple[Action, ...] = ()
    status: Json | None = None
    """The wanted status, None if there is no Cache to report on."""
    events: tuple[Event, ...] = ()
    again: float | None = None
    leaving: frozenset[str] = frozenset()
    """Nodes (by uid) and copies (by id) of which it must be remembered since when they go."""
    queued: bool = False
    """Some copy waits for other extractions to end."""
