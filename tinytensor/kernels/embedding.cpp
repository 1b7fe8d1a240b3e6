// Rows of a table by number on the host, and the sums of gradients of each row.
#include "array.h"
#include "rows.h"

HOST_KERNEL bool embedding_forward(Array y, Array weight, Array indices) {
    if (!dense<float>(y, weight) || !dense<Index>(indices)) return false;
    Index width = weight.shape(1), rows = weight.shape(0), count = indices.size();
    for (Index i = 0; i < count; i++) {
        Index row = indices.data<Index>()[i];
        if (row < 0 || row >= rows) return false;  // NumPy's code says which
    }
    parallel_for(count, rows_at_once(width), [&](Index begin, Index end) {
        for (Index i = begin; i < end; i++) {
            const float* row = weight.data<float>() + indices.data<Index>()[i] * width;
            memcpy(y.data<float>() + i * width, row, width * sizeof(float));
        }
    });
    return true;
}

// A part owns some rows of the table, and adds what belongs to them in the order of the positions.
HOST_KERNEL bool embedding_backward(Array dweight, Array grad, Array indices) {
    if (!dense<float>(dweight, grad) || !dense<Index>(indices)) return false;
    Index rows = dweight.shape(0), width = dweight.shape(1), count = indices.size();
    const Index* index = indices.data<Index>();
    parallel_for(rows, (rows + 15) / 16, [&](Index begin, Index end) {
        float* table = dweight.data<float>();
        memset(table + begin * width, 0, (end - begin) * width * sizeof(float));
        for (Index i = 0; i < count; i++) {
            if (index[i] < begin || index[i] >= end) continue;
            float* sum = table + index[i] * width;
            const float* g = grad.data<float>() + i * width;
            each_vector(width, [&](Index c, auto lanes) {
                store(sum + c, load(sum + c, lanes) + load(g + c, lanes), lanes);
            });
        }
    });
    return true;
}
