"""``python -m miliary_seg.cli``."""

from miliary_seg.cli import main

main()
