"""aerodet turns overhead imagery, real and synthetic, into a small INT8 aircraft detector.

This package is the library that the component images carry. It never imports kfp or kubernetes:
``aerodet.components`` gives the stages their KFP face and ``aerodet.pipelines`` wires and runs them.
"""

__version__ = "0.1.0"
