#!/usr/bin/env python3
"""Uses the library as a stranger would: as a subproject or installed, static and shared, built and run.

The consumer beside this script is copied out of the tree, so nothing of the tree can leak into its build.
The static library is built with g++, the shared one with clang, as are their consumers. Each is built once, as
the consumer's subproject, and installed from there.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from checks import ROOT, WARNINGS, check_all, public_headers  # noqa: E402

COMPILER = {"static": "g++", "shared": "clang++-19"}
PROGRAMS = {"consumer": ("main.cpp", "runnel", "sum 45\n"), "secure": ("secure.cpp", "runnel-tls", "secure\n")}


class Failed(Exception):
    """A step went wrong; says which, and what it printed."""


def step(command, folder, **environment):
    done = subprocess.run([str(word) for word in command], cwd=folder, env={**os.environ, **environment}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def build(work, linkage):
    """Builds a consumer with the library in it, without optimisation (this is about linking), and installs that.

    -> (the folder of that consumer, the prefix of what was installed), or why not.
    """
    folder, prefix = work / f"by_subproject-{linkage}", work / f"installed-{linkage}"
    try:
        shutil.copytree(HERE, folder)
        (folder / "subprojects").mkdir()
        (folder / "subprojects" / "runnel").symlink_to(ROOT)
        step(["meson", "setup", "build", "--buildtype=debug", f"-Ddefault_library={linkage}", "-Drunnel:tls=enabled",
              f"--prefix={prefix}", "--libdir=lib"], folder, CXX=COMPILER[linkage])
        step(["meson", "install", "-C", "build"], folder)
        look_at(prefix, linkage)
    except Failed as failed:
        return failed
    return folder, prefix


def look_at(prefix, linkage):
    """What was installed is what was promised."""
    want = {path for _, path in public_headers()}
    have = {path.relative_to(prefix / "include").as_posix() for path in (prefix / "include").rglob("*.hpp")}
    if want != have:
        raise Failed(f"installed headers differ from the public ones: {sorted(want ^ have)}")
    if linkage == "shared" and "[librunnel.so.0.1]" not in step(["readelf", "-d", prefix / "lib/librunnel.so"], prefix):
        raise Failed("the soname is not librunnel.so.0.1")


def by_pkg_config(folder, linkage, prefix):
    for program, (source, package, _) in PROGRAMS.items():
        words = step(["pkg-config", "--cflags", "--libs", package], folder, PKG_CONFIG_PATH=f"{prefix}/lib/pkgconfig")
        step([COMPILER[linkage], "-std=c++20", *WARNINGS, source, "-o", program, *words.split()], folder)


def by_cmake(folder, linkage, prefix):
    step(["cmake", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={COMPILER[linkage]}", "."],
         folder)
    step(["cmake", "--build", "."], folder)


def check(way, linkage, work, built):
    try:
        if isinstance(built, Failed):
            raise built
        folder, prefix = built
        programs, libraries = folder / "build", folder / "build/subprojects/runnel"
        if way:
            folder = work / f"{way.__name__}-{linkage}"
            shutil.copytree(HERE, folder)
            way(folder, linkage, prefix)
            programs, libraries = folder, prefix / "lib"
        for program, (_, _, expected) in PROGRAMS.items():
            output = step([programs / program], folder, LD_LIBRARY_PATH=f"{libraries}:{libraries}/io/tls")
            if output != expected:
                raise Failed(f"{program} printed {output!r}, not {expected!r}")
    except Failed as failed:
        return f"{way.__name__ if way else 'as a subproject'}, {linkage}: {failed}"
    return None


def main():
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        built = {linkage: build(work, linkage) for linkage in COMPILER}
        return check_all(check, [(way, linkage, work, built[linkage]) for linkage in COMPILER
                                 for way in (None, by_pkg_config, by_cmake)])


if __name__ == "__main__":
    sys.exit(main())
