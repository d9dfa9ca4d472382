"""Names for numpy arrays by their element type. Shape, frame and unit are stated where an array is used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Int64Array = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Int16Array = NDArray[np.int16]
IndexArray = NDArray[np.intp]
UInt8Array = NDArray[np.uint8]
Box = tuple[slice, ...]
"""Part of an array, a slice an axis."""
