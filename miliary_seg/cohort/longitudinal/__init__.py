"""Scans of one patient over time: which lesions are new, persist or resolve, and when the pattern was first met."""
