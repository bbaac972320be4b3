"""Where the shipped files of envoy/ are: the sample policy and Envoy's configuration.

In a checkout they stand at the top, for people to read; the wheel carries them as package data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parents[1]


def samples_dir() -> Path:
    """The folder that holds `envoy.yaml` and `policy.yaml`.

    An editable install has no package data, so the checkout is looked at when the package has none.
    """
    packaged = PACKAGE / "_data" / "envoy"
    return packaged if packaged.is_dir() else PACKAGE.parents[1] / "envoy"
