"""Frontends: from a model file to a Graph on integers, exactly.

``load`` finds the file's format. An ONNX file becomes plain records in ``onnx_file``; ``interpreter`` walks them and
calls one handler an operator (``elementwise``, ``quantizers``, ``layout``, ``dense``, ``conv``, ``pools``, ``resize``,
``heads``), each of which maps what its inputs stand for to what its result stands for (``values``), and may append
integer operators to the graph (``builder``). ``images`` is how those that know pixels see their input, ``joins`` where
branches meet. A TFLite file goes its own way (``tflite``).
"""

from accel.frontends.errors import FrontendError
from accel.frontends.interpreter import Encoding
from accel.frontends.model_file import load, reads_reals

__all__ = ["Encoding", "FrontendError", "load", "reads_reals"]
