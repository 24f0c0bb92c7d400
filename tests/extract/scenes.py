"""What is on a volume when an extraction begins, and what must be there when it has ended."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from gkm.core.outcome import EXIT_DONE
from gkm.extract.volume import Volume
from tests.extract.struck import Ended, Lab, Strike, fill, tree
from tests.images import Image, Script, cache_files, tar

CHANGES = ("openat", "write", "mkdirat", "unlinkat", "renameat", "fchmod", "fsync", "syncfs")
"""The calls that change a volume, or that must have been made before it counts as complete."""
_LARGE = 3 * 1024 * 1024
Tree = dict[str, bytes | None]
Point = tuple["Scene", Strike]


def kernels(seed: int) -> Image:
    """Three layers: small files in folders of their own, a large one, a manifest."""
    random = Random(seed)
    names = [f"KEY{number}/{name}" for number in range(8) for name in ("a.json", "b.cubin", "c.so")]
    files = {name: random.randbytes(random.randint(0, 4000)) for name in names}
    large = {f"KEY{seed}/large.cubin": random.randbytes(_LARGE)}
    manifest = tar([("io.triton.manifest/manifest.json", b'{"triton": []}')])
    return Image([cache_files(files), cache_files(large), manifest])


def complete(volume: Path) -> bool:
    """Whether a volume says that it is."""
    with Volume(volume) as opened:
        return opened.marker() is not None


@dataclass(frozen=True)
class Scene:
    """What is on the volume, what is run there, and what is there when it has been."""

    name: str
    template: Path
    arguments: tuple[str, ...]
    before: Tree
    after: Tree


@dataclass
class Stand:
    """The lab with its scenes; one volume, filled anew for each run."""

    lab: Lab
    volume: Path
    scenes: list[Scene]

    async def points(self, calls: tuple[str, ...] = ()) -> list[Point]:
        """A kill at each system call of each scene, or only at these calls."""
        found: list[Point] = []
        for scene in self.scenes:
            fill(self.volume, scene.template)
            counted = await self.lab.calls(scene.arguments)
            found += [
                (scene, Strike(call, nth))
                for call, count in sorted(counted.items())
                if call in (calls or counted)
                for nth in range(1, count + 1)
            ]
        return found

    async def strike(self, scene: Scene, strike: Strike) -> tuple[Ended, list[str]]:
        """Run a scene with a strike, look at the volume, repair it; what was wrong."""
        fill(self.volume, scene.template)
        ended = await self.lab.run(scene.arguments, strike)
        found, wrong = tree(self.volume), []
        if complete(self.volume) and found not in (scene.before, scene.after):
            wrong.append("a volume that is not complete says that it is")
        if ended.code == EXIT_DONE and found != scene.after:
            wrong.append("it says that all went well")
        again = await self.lab.run(scene.arguments)
        if again.code != EXIT_DONE or tree(self.volume) != scene.after:
            wrong.append(f"not repaired: {again}")
        return ended, [f"{scene.name}, {strike}: {one}" for one in wrong]


@asynccontextmanager
async def stand(script: Script, folder: Path) -> AsyncIterator[Stand]:
    """Everything that an extraction may find on its volume."""
    volume = folder / "volume"
    async with Lab(folder, script.host) as lab:
        one, other = script.add(kernels(1)), script.add(kernels(2))
        first = (one, str(volume), "--mount-path", "/cache")
        second = (other, str(volume), "--mount-path", "/cache")
        found = await _templates(lab, volume, folder, first)
        wanted = {
            "a new volume": ("new", first),
            "another image": ("complete", second),
            "another mount path": ("complete", (*first[:-1], "/elsewhere")),
            "an unfinished volume": ("unfinished", second),
            "a volume that is emptied": ("complete", ("--empty", str(volume))),
        }
        scenes = []
        for name, (template, arguments) in wanted.items():
            fill(volume, found[template])
            before = tree(volume)
            ended = await lab.run(arguments)
            assert ended.code == EXIT_DONE, ended.log
            scenes.append(Scene(name, found[template], arguments, before, tree(volume)))
        yield Stand(lab, volume, scenes)


async def _templates(
    lab: Lab, volume: Path, folder: Path, first: tuple[str, ...]
) -> dict[str, Path]:
    """Volumes as runs find them: new, complete for the first image, half filled with it."""
    made = {name: folder / name for name in ("new", "complete", "unfinished")}
    (made["new"] / "lost+found").mkdir(parents=True)
    for name, strike in (("complete", None), ("unfinished", Strike("fchmod", 3))):
        fill(volume, made["new"])
        await lab.run(first, strike)
        fill(made[name], volume)
        assert complete(made[name]) is (name == "complete")
    assert len(tree(made["unfinished"])) > 20
    return made
