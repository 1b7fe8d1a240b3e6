// C++ multi-tensor scaling and zeroing, see ops/optim/multi_tensor.py.
#include "multi_tensor.h"
#include "vector.h"

// Every element times `factor`, or 0 (also inf and nan) if `clear`.
HOST_KERNEL bool scale_many(Arrays xs, double factor, bool clear) {
    if (!all_dense<float>(xs)) return false;
    Pieces pieces(xs);
    if (!pieces) return false;
    pieces.run(xs, [&](Index, Index i, Index begin, Index end) {
        float* x = xs[i].data<float>() + begin;
        if (clear) {
            memset(x, 0, (end - begin) * sizeof(float));
            return;
        }
        each_vector(end - begin,
                    [&](Index at, auto lanes) { store(x + at, load(x + at, lanes) * (float)factor, lanes); });
    });
    return true;
}
