// C++ embedding: lookup of table rows by index, and the sum of gradients per row.
#include "array.h"
#include "rows.h"

HOST_KERNEL bool embedding_forward(Array y, Array weight, Array indices) {
    if (!dense<float>(y, weight) || !dense<Index>(indices)) return false;
    Index width = weight.shape(1), rows = weight.shape(0), count = indices.size();
    for (Index i = 0; i < count; i++) {
        Index row = indices.data<Index>()[i];
        if (row < 0 || row >= rows) return false;  // the NumPy code raises the error
    }
    parallel_for(count, rows_at_once(width), [&](Index begin, Index end) {
        for (Index i = begin; i < end; i++) {
            const float* row = weight.data<float>() + indices.data<Index>()[i] * width;
            memcpy(y.data<float>() + i * width, row, width * sizeof(float));
        }
    });
    return true;
}

// Each part owns some rows of the table, and adds their gradients in the order of the positions: in double
// for rows with so many positions that float would lose digits.
HOST_KERNEL bool embedding_backward(Array dweight, Array grad, Array indices) {
    if (!dense<float>(dweight, grad) || !dense<Index>(indices)) return false;
    constexpr Index MANY = 512;
    Index rows = dweight.shape(0), width = dweight.shape(1), count = indices.size(), wide = 0;
    const Index* index = indices.data<Index>();
    Index* place = (Index*)calloc(rows + 1, sizeof(Index));  // how many positions; then, of a sum in double
    if (!place) return false;
    for (Index i = 0; i < count; i++)
        place[index[i]]++;
    for (Index row = 0; row < rows; row++)
        place[row] = place[row] > MANY ? wide++ : -1;
    double* sums = (double*)calloc(wide * width + 1, sizeof(double));
    if (!sums) return free(place), false;
    parallel_for(rows, (rows + 15) / 16, [&](Index begin, Index end) {
        float* table = dweight.data<float>();
        memset(table + begin * width, 0, (end - begin) * width * sizeof(float));
        for (Index i = 0; i < count; i++) {
            Index row = index[i];
            if (row < begin || row >= end) continue;
            const float* g = grad.data<float>() + i * width;
            if (place[row] >= 0) {
                double* sum = sums + place[row] * width;
                for (Index c = 0; c < width; c++)
                    sum[c] += (double)g[c];
                continue;
            }
            float* sum = table + row * width;
            each_vector(width, [&](Index c, auto lanes) {
                store(sum + c, load(sum + c, lanes) + load(g + c, lanes), lanes);
            });
        }
        for (Index row = begin; row < end; row++)
            for (Index c = 0; place[row] >= 0 && c < width; c++)
                table[row * width + c] = (float)sums[place[row] * width + c];
    });
    free(sums);
    free(place);
    return true;
}
