"""The function of a Lambda layer, which Keras writes as bytecode of Python: read, and never run.

`read_function` gives what the code computes as an expression, if it is a straight line of the few
instructions that are understood, and raises CodeError otherwise. Python's own `marshal` is not
used: it is not made for what strangers wrote, and reads the bytecode of its own version alone.
"""

from converter.files.bytecode.expressions import Expression as Expression
from converter.files.bytecode.function import Function as Function
from converter.files.bytecode.function import read_function as read_function
from converter.files.bytecode.marshalled import CodeError as CodeError
