"""DICOM objects of a result: segmentation, structured report, RT structure set, and images where the input was none.

``write`` makes all of them; ``references`` keeps what they must refer to; ``encoding`` writes what repeats thousands
of times.
"""
