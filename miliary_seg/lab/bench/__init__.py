"""How good it is: a run, or anybody's masks, against references; and the program against phantoms.

``agreement.score`` pairs files (``pairs``), reads them (``sides``, ``centres``) and scores them (``scoring``: pure, it
reads no file). ``selftest.run`` makes phantoms (``scenes``), analyses them and scores them the same way. ``sections``
puts the figures into tables, ``charts`` draws them, ``write`` makes files of both. docs/bench.md defines every figure.
"""
