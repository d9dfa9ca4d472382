"""Affine transforms from MNI to the scan's world as twelve numbers of comparable effect.

Parameters: translation in mm; pitch, roll, yaw; log scales; shears. Angles, log scales and shears are counted in
units of ``UNIT``, so that one unit of any parameter moves the cortex by 1 to 2 mm.
"""

from __future__ import annotations

import numpy as np

from miliary_seg.domain.arrays import Float64Array

UNIT = 0.02
"""Radians (or log scale, or shear) in one parameter unit."""
FARTHEST = 3.0
"""Log scales and shears end here (20 times as large): a line search can step so far that the exponential overflows."""
CENTRE_MNI_MM = np.array([0.0, -20.0, 5.0])
"""Centre of rotation: the middle of the template's brain."""
MEAN_LOG_SCALE = float(np.log(0.93))
"""People's brains against MNI152, which is larger than people: 0.93 +- 0.06 (20 label maps;
docs/measurements/compartments.md)."""
SD_LOG_SCALE = 0.06
USUAL_PITCH_DEG = 15.0
"""Heads lie in scanners pitched forward by 0 to 30 degrees against MNI (docs/measurements/compartments.md)."""
CORNERS_MNI_MM = np.array([[x, y, z] for x in (-60, 60) for y in (-95, 60) for z in (-45, 70)], dtype=np.float64).T
"""Corners of a box around the brain, shape (3, 8): how far two transforms differ is measured there."""


def rotation(pitch: float, roll: float, yaw: float) -> Float64Array:
    """Rotation matrix (3, 3) about x, then y, then z; angles in radians."""
    cx, cy, cz = np.cos([pitch, roll, yaw])
    sx, sy, sz = np.sin([pitch, roll, yaw])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turned: Float64Array = about_x @ about_y @ about_z
    return turned


def affine_matrix(parameters: Float64Array) -> Float64Array:
    """Matrix (4, 4), MNI mm to scan mm, of twelve parameters."""
    shear = np.eye(3)
    stretch = np.clip(parameters[6:12] * UNIT, -FARTHEST, FARTHEST)
    shear[0, 1], shear[0, 2], shear[1, 2] = stretch[3:]
    pitch, roll, yaw = parameters[3:6] * UNIT
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(pitch, roll, yaw) @ np.diag(np.exp(stretch[:3])) @ shear
    matrix[:3, 3] = parameters[:3] - matrix[:3, :3] @ CENTRE_MNI_MM
    return matrix


def affine_jacobian(parameters: Float64Array) -> Float64Array:
    """Derivative of the upper three rows of the matrix, shape (12, 3, 4), by central differences."""
    steps = np.eye(12) * 1e-3
    return np.array([(affine_matrix(parameters + h) - affine_matrix(parameters - h))[:3] / 2e-3 for h in steps])


def from_pose(pose: Float64Array) -> Float64Array:
    """Twelve parameters of a pose (translation, rotation, one log scale: seven)."""
    return np.concatenate([pose[:6], np.repeat(pose[6], 3), np.zeros(3)])


def apply(matrix: Float64Array, positions: Float64Array) -> Float64Array:
    """Positions, shape (3, n), moved by a matrix (4, 4)."""
    moved: Float64Array = matrix[:3, :3] @ positions + matrix[:3, 3:4]
    return moved


def inverse(matrix: Float64Array) -> Float64Array:
    """The inverse of a matrix (4, 4)."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def distance_mm(first: Float64Array, second: Float64Array) -> float:
    """How far two matrices (4, 4) differ: mean over the corners of the brain's box."""
    apart = apply(first, CORNERS_MNI_MM) - apply(second, CORNERS_MNI_MM)
    return float(np.sqrt((apart**2).sum(axis=0)).mean())


def size_penalty(log_scales: Float64Array, mean: float = MEAN_LOG_SCALE) -> tuple[float, Float64Array]:
    """Sum of squared standard scores of log scales under the distribution in people, and its gradient."""
    score = (log_scales - mean) / SD_LOG_SCALE
    return float((score**2).sum()), 2 * score / SD_LOG_SCALE


def tilt_deg(matrix: Float64Array) -> float:
    """Largest angle in degrees between a head axis and its axis of the scan's world, from how heads lie on average."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    turned = left @ right @ rotation(-np.radians(USUAL_PITCH_DEG), 0.0, 0.0)
    return float(np.degrees(np.arccos(np.clip(np.diag(turned), -1, 1))).max())
