"""Which lines copy: views are free, and a layout that a view cannot have is a copy."""

import tinytensor as tt
from tinytensor import lab

x = tt.arange(24).reshape(4, 6)

with lab.trace_copies() as log:
    rows = x[1:3]  # a view
    columns = x.T  # a view
    flat = x.flatten()  # a view: x is contiguous
    again = columns.flatten()  # a copy: no strides walk a transposed matrix in this order
    picked = x[tt.tensor([0, 2])]  # a copy: rows 0 and 2, by an index tensor

assert flat.shares_memory(x)
assert not again.shares_memory(x)
assert not picked.shares_memory(x)
print(log)
