"""The two programs that run in other people's namespaces: ``gkm extract`` and ``gkm overlay``.

Signals, exit codes and the termination message are here; the work is elsewhere.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from gkm.api.errors import Rejected, Retry
from gkm.api.names import SECRETS_FOLDER
from gkm.core.image import Reference
from gkm.core.outcome import EXIT_DONE, EXIT_REJECTED, EXIT_RETRY, Outcome
from gkm.extract.arguments import extract_arguments, overlay_arguments
from gkm.extract.job import extract
from gkm.extract.overlay import check, overlay
from gkm.extract.told import say
from gkm.extract.volume import Volume
from gkm.oci.dockerlogin import keychain
from gkm.oci.keychain import Keychain
from gkm.oci.registry import Registry
from gkm.oci.resume import TRIES
from gkm.oci.settings import ENVIRONMENT, RegistrySettings

_IN_A_POD: Final = "KUBERNETES_SERVICE_HOST"
"""Kubernetes sets it in every container; no program of the image is a helper there."""


def extract_main(arguments: Sequence[str]) -> int:
    """Run ``gkm extract``; returns the exit code."""
    parser = extract_arguments()
    options = parser.parse_intermixed_args(arguments)
    if options.empty:
        if options.image:
            parser.error("--empty takes no image")
        return _run(lambda: _empty(options.volume), options.termination_log)
    if not options.image:
        parser.error("REF and DIR are needed")
    mount_path = options.mount_path or str(options.volume.absolute())
    if not mount_path.startswith("/"):
        parser.error(f"--mount-path {mount_path}: an absolute path is needed")
    return _run(
        lambda: _extract(options.image, options.volume, mount_path, options.at_most),
        options.termination_log,
        digest=options.image.partition("@")[2],
    )


def overlay_main(arguments: Sequence[str]) -> int:
    """Run ``gkm overlay``; returns the exit code."""
    parser = overlay_arguments()
    options = parser.parse_args(arguments)
    if not options.source.is_absolute():
        parser.error("SRC must be absolute: the links are read from other directories")
    if options.check is (options.target is not None):
        parser.error("either DST or --check is needed")
    if options.check:
        return _run(lambda: check(options.source), options.termination_log)
    return _run(lambda: overlay(options.source, options.target), options.termination_log)


def _extract(image: str, directory: Path, mount_path: str, at_most: int | None) -> Outcome:
    settings = RegistrySettings.from_json(os.environ.get(ENVIRONMENT, ""))
    logins = _keychain(image)
    say(f"extracting {image}")
    if not directory.is_dir():
        directory.mkdir(parents=True)
    with Volume(directory) as volume:
        try:
            registry = Registry(settings, logins, TRIES)
            return extract(registry, image, volume, mount_path, at_most)
        except Retry as word:
            if word.reason != "DigestMismatch" or not settings.mirrors:
                raise
            # What was written cannot be taken back, and the next Job would ask that mirror again.
            say(f"{word}; again, without mirrors")
            registry = Registry(replace(settings, mirrors={}), logins, TRIES)
            return extract(registry, image, volume, mount_path, at_most)


def _keychain(image: str) -> Keychain:
    """The logins: in a Job those of its Secrets, elsewhere those of ``docker login``."""
    if Path(SECRETS_FOLDER).is_dir():
        return Keychain.from_folder(Path(SECRETS_FOLDER))
    found = keychain(Reference.parse(image).registry, helpers=_IN_A_POD not in os.environ)
    for problem in found.problems:
        say(f"{found.place}: {problem}")
    return found


def _empty(directory: Path) -> Outcome:
    with Volume(directory) as volume:
        volume.empty()
    return Outcome("Emptied", "removed what GKM put on the volume")


def _run(work: Callable[[], Outcome], termination_log: Path, *, digest: str = "") -> int:
    """Do ``work`` and say how it ended; what is not Retry or Rejected is our bug and is raised."""
    # The first process of a container ignores SIGTERM unless it says otherwise. Ending at once is
    # safe: whatever is on the volume now is unfinished for the next run.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_RETRY))
    os.umask(0)  # modes are given where files are made
    started = time.monotonic()
    try:
        outcome, code = work(), EXIT_DONE
    except Rejected as error:
        outcome, code = Outcome(error.reason, error.message, digest), EXIT_REJECTED
    except Retry as error:
        outcome, code = Outcome(error.reason, error.message, digest), EXIT_RETRY
    except OSError as error:  # the registry client has its own words: these are the volume's
        outcome, code = Outcome("VolumeError", str(error), digest), EXIT_RETRY
    say(f"{outcome.reason}: {outcome.message} ({time.monotonic() - started:.1f} s)")
    return code if _told(outcome, termination_log) else code or EXIT_RETRY


def _told(outcome: Outcome, termination_log: Path) -> bool:
    """Write the outcome where the operator reads it; without it a success counts for nothing."""
    try:
        if termination_log.exists():
            termination_log.write_text(outcome.to_json())
    except OSError as error:  # it lies on the node's own disk
        say(f"the outcome cannot be written: {error}")
        return False
    return True
