"""The columns of candidates.csv: every feature's unit and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column: its unit and meaning."""

    unit: str
    meaning: str


FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        "isolation": Feature(
            unit="1",
            meaning="(centre - brightest sample of the shell) / (centre - median of the shell), -2 to 1; the "
            "shell lies 1 mm outside of the blob. 1: stands alone; 0 or less: something as bright "
            "touches it",
        ),
        "tube_isolation": Feature(
            unit="1",
            meaning="the same against the best pair of roughly opposite samples: low for a vessel that passes "
            "through, also where it bends by up to 50 degrees",
        ),
        "eigen_ratio": Feature(
            unit="1",
            meaning="smallest / largest curvature: 1 for a ball, 0 for a line or sheet",
        ),
        "log_radius": Feature(
            unit="ln mm",
            meaning="natural logarithm of the radius that answers most strongly",
        ),
        "contrast_to_noise": Feature(
            unit="noise sd",
            meaning="(centre - median of the shell) / noise",
        ),
        "contrast": Feature(
            unit="brain spans",
            meaning="centre - median of the shell, in units of the 1-99 % range of the brain's grey values",
        ),
        "response_mads": Feature(
            unit="1",
            meaning="Laplacian response / spread of that scale's responses in this brain",
        ),
        "soft_isolation": Feature(
            unit="1",
            meaning="isolation with the 90th percentile of the shell in place of its brightest sample",
        ),
        "middle_isolation": Feature(
            unit="1",
            meaning="isolation against a shell 2 mm outside of the blob",
        ),
        "far_isolation": Feature(
            unit="1",
            meaning="isolation against a shell 3 mm outside of the blob",
        ),
        "far_tube_isolation": Feature(
            unit="1",
            meaning="tube isolation against a shell 3 mm outside of the blob",
        ),
        "shell_spread": Feature(
            unit="1",
            meaning="standard deviation over the shell / (centre - median of the shell)",
        ),
        "far_spread": Feature(
            unit="1",
            meaning="standard deviation over the shell 4 mm outside / (centre - median of the shell)",
        ),
        "rim_spread": Feature(
            unit="1",
            meaning="standard deviation over the sphere of the blob's own radius / (centre - median of the "
            "shell): uneven shape",
        ),
        "profile_half": Feature(
            unit="1",
            meaning="radial profile at half the radius: (median there - median of the shell) / (centre - "
            "median of the shell)",
        ),
        "profile_rim": Feature(
            unit="1",
            meaning="radial profile at the radius, likewise",
        ),
        "profile_far": Feature(
            unit="1",
            meaning="radial profile 4 mm outside, likewise: below 0 where the blob lies on a ridge",
        ),
        "leak": Feature(
            unit="1",
            meaning="fraction of directions in which the grey value stays above half of the contrast as far "
            "as 2 mm outside",
        ),
        "elongation": Feature(
            unit="1",
            meaning="ratio of the 90th percentile to the median of the distances at which it falls below half",
        ),
        "darkest_surround": Feature(
            unit="1",
            meaning="(centre - darkest sample 3 mm outside) / (centre - median of the shell): large beside "
            "fluid or fat",
        ),
        "centre_value": Feature(
            unit="brain spans",
            meaning="grey value at the centre from the brain's median (dark lesions: sign turned)",
        ),
        "surround_value": Feature(
            unit="brain spans",
            meaning="median grey value of the shell from the brain's median (dark lesions: sign turned)",
        ),
        "outlierness": Feature(
            unit="local sd",
            meaning="(centre - mean) / standard deviation of the brain's grey values within about 15 mm (dark lesions: "
            "sign turned)",
        ),
        "surround_outlierness": Feature(
            unit="local sd",
            meaning="the same for the median of the shell: below 0 beside fluid",
        ),
        "persistence": Feature(
            unit="1",
            meaning="how much of the contrast is still there in the next slice (at least 3 mm away) on the "
            "side where it is stronger",
        ),
        "through": Feature(
            unit="1",
            meaning="the same on the side where it is weaker: high for vessels across slices",
        ),
        "finer_response": Feature(
            unit="1",
            meaning="Laplacian response at the same place one scale finer / the blob's own response, -5 to 5",
        ),
        "coarser_response": Feature(
            unit="1",
            meaning="the same one scale coarser: high where the blob lies on a larger bright structure",
        ),
        "coarsest_response": Feature(
            unit="1",
            meaning="the same two scales coarser",
        ),
        "quarter_isolation": Feature(
            unit="1",
            meaning="isolation with the 75th percentile of the shell in place of its brightest sample",
        ),
        "low_quarter": Feature(
            unit="1",
            meaning="(centre - 25th percentile of the shell) / (centre - median of the shell), at most 5",
        ),
        "far_soft_isolation": Feature(
            unit="1",
            meaning="isolation against the 90th percentile of a shell 3 mm outside of the blob",
        ),
        "last_tube_isolation": Feature(
            unit="1",
            meaning="tube isolation against a shell 4 mm outside of the blob",
        ),
        "profile_wide": Feature(
            unit="1",
            meaning="radial profile 6 mm outside, as for profile_half",
        ),
        "wide_spread": Feature(
            unit="1",
            meaning="standard deviation over the shell 6 mm outside / (centre - median of the shell)",
        ),
        "rim_slope": Feature(
            unit="1",
            meaning="first moment of the sphere of the blob's own radius / contrast: a slope, as at an edge",
        ),
        "rim_ridge": Feature(
            unit="1",
            meaning="largest second moment of the sphere of its own radius / contrast: two bright sides, a tube",
        ),
        "rim_groove": Feature(
            unit="1",
            meaning="smallest second moment of the sphere of its own radius / contrast: two dark sides, a fold",
        ),
        "near_slope": Feature(
            unit="1",
            meaning="first moment of the shell 1 mm outside / contrast: a slope, as at an edge",
        ),
        "near_ridge": Feature(
            unit="1",
            meaning="largest second moment of the shell 1 mm outside / contrast: two bright sides, a tube",
        ),
        "near_groove": Feature(
            unit="1",
            meaning="smallest second moment of the shell 1 mm outside / contrast: two dark sides, a fold",
        ),
        "far_slope": Feature(
            unit="1",
            meaning="first moment of the shell 3 mm outside / contrast: a slope, as at an edge",
        ),
        "far_ridge": Feature(
            unit="1",
            meaning="largest second moment of the shell 3 mm outside / contrast: two bright sides, a tube",
        ),
        "far_groove": Feature(
            unit="1",
            meaning="smallest second moment of the shell 3 mm outside / contrast: two dark sides, a fold",
        ),
        "local_contrast": Feature(
            unit="local sd",
            meaning="contrast / standard deviation of the brain's grey values within about 15 mm, at most 30",
        ),
        "centre_rank": Feature(
            unit="1",
            meaning="share of the brain's voxels that are darker than the centre (dark lesions: brighter)",
        ),
        "surround_rank": Feature(
            unit="1",
            meaning="the same for the median of the shell: which tissue the blob lies in",
        ),
        "edge_mm": Feature(
            unit="mm",
            meaning="distance from the centre to the edge of the brain mask, at most 20; negative beyond the mask",
        ),
    }
)
