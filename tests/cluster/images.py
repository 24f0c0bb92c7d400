"""Building images from Containerfiles, with a Docker engine where one answers, else with buildah.

The tag of an image is the hash of its inputs: changed sources are a changed tag, and an image that
exists is not built again. Without an engine no base image can be pulled, so buildah gets one that
is made from Debian packages, once. What it stores is kept in the cache folder, apart from
everybody's own.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import cache, docker
from tests.cluster.report import ClusterError, Log, step

_REPOSITORY = Path(__file__).parents[2]
_GKM_INPUTS = ("pyproject.toml", "uv.lock", "gkm", "webhook")
_BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")
_NOT_NEEDED = ("doc", "info", "locale", "man")
_BASE_SUITE = "bookworm"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def gkm_image(log: Log = print) -> str:
    """Build GKM's own image, if need be, and return its tag."""
    inputs = [_REPOSITORY / name for name in _GKM_INPUTS]
    return build("gkm", _REPOSITORY / "Containerfile", inputs, log=log)


def build(
    name: str,
    containerfile: Path,
    inputs: Sequence[Path],
    arguments: Mapping[str, str] | None = None,
    log: Log = print,
) -> str:
    """Build an image and return its tag, `localhost/<name>:<hash of everything named here>`.

    `inputs` are the files and folders beside the Containerfile that the build reads. The build
    argument BASE is set where the Containerfile's own base cannot be pulled.
    """
    given = dict(arguments or {})
    if not docker.answers():
        given.setdefault("BASE", base(log))
    with cache.locked(cache.root() / "images" / f".{name}.lock"), _draft() as context:
        # A copy: what is built is what was hashed, even while somebody edits the sources.
        for source in (containerfile, *inputs):
            _copy(source, context / source.relative_to(containerfile.parent))
        contents = cache.key_of_files(context, [context])
        tag = f"localhost/{name}:{cache.key(contents, repr(sorted(given.items())))}"
        if not exists(tag):
            options = [f"--build-arg={key}={value}" for key, value in given.items()]
            options += [f"--file={context / containerfile.name}", f"--tag={tag}"]
            with step(log, f"built {tag}"):
                if docker.answers():
                    docker.docker("build", *options, str(context))
                else:
                    _bud(context, options)
    return tag


def exists(tag: str) -> bool:
    """Whether an image is in local storage."""
    if docker.answers():
        return bool(docker.docker("images", "--quiet", tag).strip())
    return bool(_buildah("images", "--quiet", "--filter", f"reference={tag}").strip())


def base(log: Log = print) -> str:
    """Return the tag of a base image with Python, made from Debian packages if need be."""
    key = cache.key(_BASE_SUITE, *_BASE_PACKAGES, *_NOT_NEEDED)
    tag = f"localhost/gkm-base:{key}"
    with cache.locked(cache.root() / "images" / ".base.lock"):
        if not exists(tag):
            archive = cache.entry("bases", key, lambda draft: _debootstrap(draft, log)) / "base.tar"
            with _draft() as folder:
                (folder / "Containerfile").write_text("FROM scratch\nADD base.tar /\n")
                (folder / "base.tar").hardlink_to(archive)
                _bud(folder, [f"--tag={tag}"])
    return tag


@contextmanager
def archive_of(tag: str) -> Iterator[Path]:
    """Write an image to an archive that lasts as long as the context."""
    if not exists(tag):
        raise ClusterError(f"no image {tag} here: build it first, or give an archive file")
    with _draft() as folder:
        file = folder / "image.tar"
        if docker.answers():
            docker.docker("save", f"--output={file}", tag)
        else:
            # Half the bytes through containerd's gRPC and sha256, which is what loading costs.
            target = f"oci-archive:{file}:{tag}"
            _buildah("push", "--quiet", "--compression-format=zstd", tag, target)
        yield file


@contextmanager
def _draft() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=cache.root()) as folder:
        yield Path(folder)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _debootstrap(folder: Path, log: Log) -> None:
    with step(log, "made the base image from Debian packages"):
        _call(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _NOT_NEEDED),
                f"--include={','.join(_BASE_PACKAGES)}",
                _BASE_SUITE,
                str(folder / "base.tar"),
            ]
        )


def _bud(context: Path, options: Sequence[str]) -> None:
    """Build with buildah; steps reach package indexes with this machine's certificates.

    Those are mounted during the build, with the files that make pip and uv use them: nothing of it
    is in the Containerfile or in the image.
    """
    certificates = Path(os.environ.get("SSL_CERT_FILE", _CERTIFICATES))
    with _draft() as folder:
        pip, uv = folder / "pip.conf", folder / "uv.toml"
        pip.write_text(f"[global]\ncert = {_CERTIFICATES}\n")
        uv.write_text("system-certs = true\n")
        mounts = [(pip, "/etc/pip.conf"), (uv, "/etc/uv/uv.toml")]
        if certificates.is_file():
            mounts.append((certificates, _CERTIFICATES))
        volumes = [f"--volume={source}:{target}:ro" for source, target in mounts]
        _buildah("bud", "--layers", "--pull-never", *volumes, *options, str(context))


def _buildah(*arguments: str) -> str:
    store = cache.root() / "images"
    command = ["buildah", f"--root={store / 'storage'}", f"--runroot={store / 'run'}"]
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}
    return _call([*command, *arguments], environment)


def _call(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ClusterError(f"{command[0]} is missing: run `make deps` as root") from None
    if done.returncode:
        output = (done.stdout + done.stderr)[-3000:]
        raise ClusterError(f"{command[0]} failed:\n{output}")
    return done.stdout
