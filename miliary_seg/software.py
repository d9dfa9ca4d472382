"""What a result was made with: this program and the libraries that read, compute or write."""

from __future__ import annotations

import platform
from contextlib import suppress

__version__ = "0.1.0"

PACKAGES = ("numpy", "scipy", "scikit-image", "SimpleITK", "nibabel", "pydicom", "highdicom", "opencv-python-headless")
"""What reads, computes or writes; their versions stand in every result."""


def software() -> dict[str, str]:
    """Versions that a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"name": "miliary-seg", "version": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # another build of the same library (opencv-python) may stand in
            versions[package] = version(package)
    return versions
