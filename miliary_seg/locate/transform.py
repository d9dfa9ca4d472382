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
    turned: Float64Array = _rotations(np.array([[pitch, roll, yaw]]))[0]
    return turned


def _rotations(angles: Float64Array) -> Float64Array:
    """Rotation matrices (n, 3, 3) about x, then y, then z; angles (n, 3) in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    about_x, about_y, about_z = np.zeros((3, len(angles), 3, 3))
    about_x[:, 0, 0] = about_y[:, 1, 1] = about_z[:, 2, 2] = 1.0
    about_x[:, 1, 1], about_x[:, 1, 2], about_x[:, 2, 1], about_x[:, 2, 2] = cx, -sx, sx, cx
    about_y[:, 0, 0], about_y[:, 0, 2], about_y[:, 2, 0], about_y[:, 2, 2] = cy, sy, -sy, cy
    about_z[:, 0, 0], about_z[:, 0, 1], about_z[:, 1, 0], about_z[:, 1, 1] = cz, -sz, sz, cz
    turned: Float64Array = about_x @ about_y @ about_z
    return turned


def affine_matrix(parameters: Float64Array) -> Float64Array:
    """Matrix (4, 4), MNI mm to scan mm, of twelve parameters."""
    matrix: Float64Array = _affine_matrices(parameters[None])[0]
    return matrix


def _affine_matrices(parameters: Float64Array) -> Float64Array:
    """Matrices (n, 4, 4) of n sets of twelve parameters: made at once, they cost little more than one."""
    n = len(parameters)
    stretch = np.minimum(np.maximum(parameters[:, 6:12] * UNIT, -FARTHEST), FARTHEST)
    scale, shear, matrices = np.zeros((n, 3, 3)), np.zeros((n, 3, 3)), np.zeros((n, 4, 4))
    for axis in range(3):
        scale[:, axis, axis] = np.exp(stretch[:, axis])
        shear[:, axis, axis] = 1.0
    shear[:, 0, 1], shear[:, 0, 2], shear[:, 1, 2] = stretch[:, 3:].T
    linear = _rotations(parameters[:, 3:6] * UNIT) @ scale @ shear
    matrices[:, :3, :3] = linear
    matrices[:, :3, 3] = parameters[:, :3] - linear @ CENTRE_MNI_MM
    matrices[:, 3, 3] = 1.0
    return matrices


def affine_jacobian(parameters: Float64Array) -> Float64Array:
    """Derivative of the upper three rows of the matrix, shape (12, 3, 4), by central differences."""
    steps = np.eye(12) * 1e-3
    there, back = np.split(_affine_matrices(np.concatenate([parameters + steps, parameters - steps])), 2)
    jacobian: Float64Array = (there - back)[:, :3] / 2e-3
    return jacobian


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
