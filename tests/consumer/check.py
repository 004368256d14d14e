#!/usr/bin/env python3
"""Uses the library as a stranger would: installed or as a subproject, static and shared, built and run.

The consumer beside this script is copied out of the tree, so nothing of the tree can leak into its build.
The static library is built with g++, the shared one with clang, as are their consumers.
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
EXPECTED = "sum 45\n"


class Failed(Exception):
    """A step went wrong; says which, and what it printed."""


def step(command, folder, **environment):
    done = subprocess.run([str(word) for word in command], cwd=folder, env={**os.environ, **environment}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def meson(folder, linkage, source, *options):
    """Configures and builds `source` in `folder`, without optimisation: this is about linking."""
    step(["meson", "setup", folder, "--buildtype=debug", f"-Ddefault_library={linkage}", *options], source,
         CXX=COMPILER[linkage])
    step(["ninja", "-C", folder], source)


def install(work, linkage):
    """-> where the library was installed, after a look at what is there."""
    prefix = work / f"installed-{linkage}"
    build = work / f"build-{linkage}"
    meson(build, linkage, ROOT, f"--prefix={prefix}", "--libdir=lib", "-Dtests=disabled", "-Dexamples=disabled",
          "-Dbench=disabled", "-Dtls=enabled")
    step(["meson", "install", "-C", build], ROOT)
    want = {path for _, path in public_headers()}
    have = {path.relative_to(prefix / "include").as_posix() for path in (prefix / "include").rglob("*.hpp")}
    if want != have:
        raise Failed(f"installed headers differ from the public ones: {sorted(want ^ have)}")
    if linkage == "shared" and "[librunnel.so.0.1]" not in step(["readelf", "-d", prefix / "lib/librunnel.so"], work):
        raise Failed("the soname is not librunnel.so.0.1")
    return prefix


def by_pkg_config(folder, linkage, prefix):
    words = step(["pkg-config", "--cflags", "--libs", "runnel"], folder, PKG_CONFIG_PATH=f"{prefix}/lib/pkgconfig")
    step([COMPILER[linkage], "-std=c++20", *WARNINGS, "main.cpp", "-o", "consumer", *words.split()], folder)


def by_cmake(folder, linkage, prefix):
    step(["cmake", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={COMPILER[linkage]}", "."],
         folder)
    step(["cmake", "--build", "."], folder)


def by_subproject(folder, linkage, _):
    (folder / "subprojects").mkdir()
    (folder / "subprojects" / "runnel").symlink_to(ROOT)
    meson(folder / "build", linkage, folder)
    shutil.copy(folder / "build" / "consumer", folder / "consumer")


def check(way, linkage, work, prefix):
    folder = work / f"{way.__name__}-{linkage}"
    shutil.copytree(HERE, folder)
    try:
        if isinstance(prefix, Failed):
            raise prefix
        way(folder, linkage, prefix)
        libraries = f"{prefix}/lib:{folder}/build/subprojects/runnel"
        output = step([folder / "consumer"], folder, LD_LIBRARY_PATH=libraries)
        if output != EXPECTED:
            raise Failed(f"printed {output!r}, not {EXPECTED!r}")
    except Failed as failed:
        return f"{way.__name__}, {linkage}: {failed}"
    return None


def attempt_install(work, linkage):
    try:
        return install(work, linkage)
    except Failed as failed:
        return failed


def main():
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        prefixes = {linkage: attempt_install(work, linkage) for linkage in COMPILER}
        return check_all(check, [(way, linkage, work, prefixes[linkage]) for linkage in COMPILER
                                 for way in (by_pkg_config, by_cmake, by_subproject)])


if __name__ == "__main__":
    sys.exit(main())
