"""NIfTI, NRRD and MGH files become series and volumes.

``header`` reads what a file states, ``sidecar`` the JSON beside it.
"""
