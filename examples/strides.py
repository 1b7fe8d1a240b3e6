"""A view: another shape and other strides over the same buffer."""

import tinytensor as tt

x = tt.arange(12).reshape(3, 4)
v = x.T[1:, ::2]  # columns 1 to 3, every second row

print("x      ", x.shape, "strides", x.strides)
print("x.T    ", x.T.shape, "strides", x.T.strides)
print("x.T[1:, ::2]", v.shape, "strides", v.strides, "offset", v.offset)

# Element (i, j) of the view lies at offset + i * strides[0] + j * strides[1] of the buffer.
buffer = x.flatten()
for i in range(v.shape[0]):
    for j in range(v.shape[1]):
        position = v.offset + i * v.strides[0] + j * v.strides[1]
        assert v[i, j].item() == buffer[position].item()

v[0, 0] = 100  # a write to the view is a write to x
print(x)
print(v.explain())
