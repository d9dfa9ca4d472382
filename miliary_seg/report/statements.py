"""Sentences that every result carries (criteria of Bashour 2020; wording fixed on purpose)."""

from __future__ import annotations

CITATION = (
    "Bashour SI, Ibrahim NK, Schomer DF, et al. Central nervous system miliary metastasis in breast cancer: a case "
    "series analysis and proposed identification criteria of a rare metastasis subtype. Br J Cancer "
    "2020;123:1417-1423. doi:10.1038/s41416-020-1008-2"
)

DISCLAIMER = "Research use only. Not a medical device and not for clinical decisions. A person must look at the images."

PROPOSED_CRITERIA = (
    "The criteria are proposed, drawn from one series of patients with breast cancer, and not externally validated; "
    "for any other primary tumour they are an extrapolation. They count lesions and say nothing of their nature: "
    "vessels, perivascular spaces, microbleeds, infection and inflammation can show the same pattern, and a scan "
    "without visible lesions does not exclude miliary disease."
)

RULE = (
    "At least 20 lesions per image on at least two non-contiguous MRI images, or at least 10 lesions per image on at "
    "least two non-contiguous CT images; and bilateral lesions located in both the supratentorial and the "
    "infratentorial compartment."
)

FACE_NOTE = "Pictures and label maps of a head can show the shape of a face: share them as you would share the scan."
