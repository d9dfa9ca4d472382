"""Instruments: what the product is measured with. Nothing that analyses a scan imports from here.

``phantom`` makes heads with known lesions, ``bench`` scores a run (or anybody's masks) against references.
"""
