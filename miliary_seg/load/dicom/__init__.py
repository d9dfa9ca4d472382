"""DICOM files become series and volumes.

In the order of the work: ``header`` reads one file, ``planes`` and ``geometry`` say where its images lie, ``stacks``
groups them, ``series`` says what each series is, ``volume`` decodes it (``pixels``, ``codestream``), ``tiled`` and
``enhanced`` open files that hold many images, ``naming`` gives series their names.
"""
