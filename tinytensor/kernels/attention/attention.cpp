// C++ attention, forward and backward: formulas in ops/attention/numpy_attention.py.
//
// Queries are processed in blocks of 64, with the queries in the lanes of vectors: the score of key j and
// query i is at [j][i]. So the maximum score of each query, the sum of its exponentials and the causal mask
// need no cross-lane operations. Fully masked vectors of queries are skipped. Forward stores the logsumexp of
// each row, from which backward recomputes the scores. bfloat16 is computed in float32, in copies of one head
// at a time, which stay in the cache.
#include "attention_tile.h"
#include "bfloat16.h"
#include "philox.h"
#include "scratch.h"
#include <math.h>

namespace {

constexpr Index FEW = 4;               // queries
constexpr Index LEAST_WORK = 500'000;  // products that justify a separate part
constexpr Index KEYS = 512;            // that backward processes together: their scores stay in the L2 cache

struct Rows {  // of one head
    float* data;
    Index step;
    float* at(Index i) const { return data + i * step; }
};

struct Span {
    Index begin, end;
};

struct Head {  // its rows as they are stored
    void* data;
    Index step;
    bool half;  // bfloat16
    Bf16* half_at(Index i) const { return (Bf16*)data + i * step; }
};

struct Heads {  // q, k, v, y or a gradient: (B, H, T, D), strides in elements, the last one 1
    char* data;
    Index batch, head, row;
    bool half;
    Head of(Index b, Index h) const {
        return {data + (b * batch + h * head) * (Index)(half ? sizeof(Bf16) : sizeof(float)), row, half};
    }
};

// Some rows of a head in float32, to be written: in place, or in a copy, which takes its part of `memory`.
Rows results(const Head& head, Span rows, Index width, float** memory) {
    if (!head.half) return {(float*)head.data, head.step};
    float* copy = *memory;
    *memory += (rows.end - rows.begin) * width;
    return {copy - rows.begin * width, width};
}

// The same, to be read.
Rows operand(const Head& head, Span rows, Index width, float** memory) {
    Rows found = results(head, rows, width, memory);
    for (Index i = rows.begin; head.half && i < rows.end; i++)
        each_vector(width, [&](Index c, auto lanes) {
            store(found.at(i) + c, load(head.half_at(i) + c, lanes), lanes);
        });
    return found;
}

// Rounds the copy, if there is one.
void finish(const Head& head, Span rows, Index width, const Rows& found) {
    for (Index i = rows.begin; head.half && i < rows.end; i++)
        each_vector(width, [&](Index c, auto lanes) {
            store(head.half_at(i) + c, load(found.at(i) + c, lanes), lanes);
        });
}

// Of weights: word j % 4 of block j / 4 of a query is that of key j; the blocks of all queries, (B, H, Tq),
// follow each other.
struct Dropout {
    bool on;
    float kept;  // factor of the weights that are kept
    Word threshold;
    Position seed, offset;
    Dropout(double p, Index seed, Index offset)
        : on(p > 0),
          kept(p < 1 ? (float)(1 / (1 - p)) : 0),
          threshold((Word)ceil(p * (1 << 24))),
          seed((Position)seed),
          offset((Position)offset) {}
    float share(Word word) const { return is_below(word, threshold) ? 0.0f : kept; }
};

struct Problem {
    Index B, H, Tq, Tk, D, Dv;
    Index shared;  // query heads per head of keys and values
    bool causal;
    float scale;
    Dropout dropout;
};

// Some queries of one head.
struct Block {
    Index first, count;  // queries
    Index vectors;       // number of vectors of the queries
    Index shift;         // its query i attends to the keys up to i + shift
    Index end;           // number of keys visible to its last query
    Index each;          // Philox blocks of a query, for dropout
    Position samples;    // those of its first query

    Block(const Problem& p, Index head, Index number) {
        first = number * QUERIES;
        count = p.Tq - first < QUERIES ? p.Tq - first : QUERIES;
        vectors = (count + LANES - 1) / LANES;
        shift = p.causal ? first + p.Tk - p.Tq : p.Tk;
        end = p.causal ? shift + count : p.Tk;
        each = (p.Tk + 3) / 4;
        samples = p.dropout.offset + (Position)(head * p.Tq + first) * (Position)each;
    }
    Index sees(Index j) const { return j > shift ? j - shift : 0; }  // the first query that attends to key j
    Index until(Index i) const {
        return i + shift + 1 < end ? i + shift + 1 : end;
    }  // number of keys visible to query i
};

Index blocks(const Problem& p) { return (p.Tq + QUERIES - 1) / QUERIES; }

// to[c][i] = factor * from[i][c] for the queries of a block; missing queries repeat the last one.
void turn(float* to, const Rows& from, const Block& block, Index width, float factor) {
    for (Index i = 0; i < block.count; i += LANES) {
        each_vector(width, [&](Index c, auto lanes) {
            Floats square[LANES];
            for (int r = 0; r < LANES; r++) {
                Index row = i + r < block.count ? i + r : block.count - 1;
                square[r] = load(from.at(block.first + row) + c, lanes) * factor;
            }
            transpose(square);
            for (int r = 0; r < LANES && c + r < width; r++)
                store(to + (c + r) * QUERIES + i, square[r]);
        });
    }
}

// body(j, v, values) for the products of the keys [begin, end) with the transposed queries, vector by vector,
// where they are visible to the block. In `target`, [keys][QUERIES] from `begin` on, masked entries become 0.
template <class Body>
INLINE void products(const Block& block, const Rows& keys, const float* turned, Index depth, Index begin,
                     Index end, float* target, const Body& body) {
    for (Index j = begin; j < end; j += ROWS) {
        Index rows = end - j < ROWS ? end - j : ROWS, at = block.sees(j) / LANES;
        for (Index r = 0; r < rows; r++)
            for (Index v = 0; v < at; v++)
                store(target + (j + r - begin) * QUERIES + v * LANES, Floats{});
        ByRows left(keys.at(j), keys.step, rows);
        for (Index next; at < block.vectors; at = next) {
            next = at + WIDE < block.vectors ? at + WIDE : block.vectors;
            by_number(next - at, [&](auto number) {
                constexpr int V = decltype(number)::value;
                Floats tile[ROWS][V];
                product(tile, left, turned + at * LANES, QUERIES, depth, Whole{});
                for (int r = 0; r < rows; r++)
                    for (int v = 0; v < V; v++)
                        body(j + r, at + v, tile[r][v]);
            });
        }
    }
}

// The values of vector v where its queries attend to key j, and -inf elsewhere.
INLINE Floats seen(const Block& block, Index j, Index v, Floats numbers) {
    Index first = j - block.shift - v * LANES;  // the first lane that attends to it
    if (first <= 0) return numbers;
    Ints lane;
    for (int i = 0; i < LANES; i++)
        lane[i] = i;
    return lane >= (int)first ? numbers : all(-INFINITY);
}

// Dropout's factors of the weights of all queries of a block for the keys j to j + 3; j is a multiple of 4.
void draw(const Dropout& dropout, const Block& block, Index j, float* shares) {
    static_assert(TOGETHER == QUERIES, "one Philox block for each query");
    Word words[4][TOGETHER];
    philox(words, dropout.seed, block.samples + (Position)j / 4, (Position)block.each);
    for (int w = 0; w < 4; w++)
        for (int i = 0; i < QUERIES; i++)
            shares[w * QUERIES + i] = dropout.share(words[w][i]);
}

void forward(const Problem& p, const Block& block, Rows q, Rows k, Rows v, Rows y, float* lse,
             float* memory) {
    float *turned = memory, *weights = turned + p.D * QUERIES;
    turn(turned, q, block, p.D, p.scale);
    Floats top[VECTORS], sum[VECTORS] = {};
    for (Floats& t : top)
        t = all(-INFINITY);
    products(block, k, turned, p.D, 0, block.end, weights, [&](Index j, Index v, Floats s) {
        s = seen(block, j, v, s);
        top[v] = larger(s, top[v]);
        store(weights + j * QUERIES + v * LANES, s);
    });
    float shares[4 * QUERIES];
    for (Index j = 0; j < block.end; j++) {
        float* row = weights + j * QUERIES;
        if (p.dropout.on && j % 4 == 0) draw(p.dropout, block, j, shares);
        for (Index v = block.sees(j / ROWS * ROWS) / LANES; v < block.vectors; v++) {
            Floats e = exponential(load(row + v * LANES) - top[v]);
            sum[v] += e;
            store(row + v * LANES, p.dropout.on ? e * load(shares + j % 4 * QUERIES + v * LANES) : e);
        }
    }
    float inverse[QUERIES + ROWS] = {};
    for (Index v = 0; v < block.vectors; v++)
        store(inverse + v * LANES, 1 / sum[v]);
    if (lse) {
        each_vector(block.count, [&](Index i, auto lanes) {
            store(lse + block.first + i, logarithm(sum[i / LANES]) + top[i / LANES], lanes);
        });
    }
    for (Index i = 0; i < block.count; i += ROWS) {
        by_columns(p.Dv, [&](Index c, auto number, auto last) {
            Floats tile[ROWS][decltype(number)::value];
            product(tile, ByColumns{weights + i}, v.data + c, v.step, block.until(i + ROWS - 1), last);
            for (Index r = 0; r < ROWS && i + r < block.count; r++) {
                each(tile[r], last, [&](Index at, Floats sum, auto lanes) {
                    store(y.at(block.first + i + r) + c + at, sum * inverse[i + r], lanes);
                });
            }
        });
    }
}

// The same for one query: with few queries, as in generation, most lanes would be empty.
void forward_one(const Problem& p, const Block& block, Index i, Rows q, Rows k, Rows v, Rows y, float* lse,
                 float* weights) {
    const float* query = q.at(block.first + i);
    Index keys = block.until(i);
    for (Index j = 0; j < keys; j++) {
        const float* key = k.at(j);
        auto term = [&](Index c, auto lanes) { return load(query + c, lanes) * load(key + c, lanes); };
        weights[j] = sum_of(p.D, term) * p.scale;
    }
    float top = largest_of(weights, keys);
    float sum = sum_of(keys, [&](Index j, auto lanes) {
        Floats e = exponential(load(weights + j, lanes) - top);
        store(weights + j, e, lanes);
        return e;
    });
    if (lse) lse[block.first + i] = logf(sum) + top;
    for (Index j = 0; p.dropout.on && j < keys; j += 4 * TOGETHER) {
        Word words[4][TOGETHER];
        philox(words, p.dropout.seed, block.samples + (Position)(i * block.each + j / 4), 1);
        for (Index n = 0; n < 4 * TOGETHER && j + n < keys; n++)
            weights[j + n] *= p.dropout.share(words[n % 4][n / 4]);
    }
    by_columns(p.Dv, [&](Index c, auto number, auto last) {
        constexpr int V = decltype(number)::value;
        Floats result[V] = {};
        for (Index j = 0; j < keys; j++) {
            const float* value = v.at(j) + c;
            for (int n = 0; n < V - 1; n++)
                result[n] += load(value + n * LANES) * weights[j];
            result[V - 1] += load(value + (V - 1) * LANES, last) * weights[j];
        }
        each(result, last, [&](Index at, Floats numbers, auto lanes) {
            store(y.at(block.first + i) + c + at, numbers / sum, lanes);
        });
    });
}

// target[j] += sum over the queries i of the block of weights[j][i] * rows[i], for the keys [begin, end).
void add_up(const Block& block, Rows target, const float* weights, Rows rows, Index width, Index begin,
            Index end) {
    for (Index j = begin; j < end; j += ROWS) {
        Index count = end - j < ROWS ? end - j : ROWS, first = block.sees(j);
        ByRows left(weights + (j - begin) * QUERIES + first, QUERIES, count);
        by_columns(width, [&](Index c, auto number, auto last) {
            Floats tile[ROWS][decltype(number)::value];
            product(tile, left, rows.at(block.first + first) + c, rows.step, block.count - first, last);
            for (Index r = 0; r < count; r++) {
                each(tile[r], last, [&](Index at, Floats sum, auto lanes) {
                    float* to = target.at(j + r) + c + at;
                    store(to, load(to, lanes) + sum, lanes);
                });
            }
        });
    }
}

void backward(const Problem& p, const Block& block, Rows dq, Rows dk, Rows dv, Rows grad, Rows q, Rows k,
              Rows v, Rows y, const float* lse, float* memory) {
    float *turned = memory, *turned_grad = turned + p.D * QUERIES;
    float *weights = turned_grad + p.Dv * QUERIES, *slopes = weights + (KEYS + ROWS) * QUERIES;
    float* shares = slopes + (KEYS + ROWS) * QUERIES;
    float logs[QUERIES], average[QUERIES] = {};
    turn(turned, q, block, p.D, p.scale);
    turn(turned_grad, grad, block, p.Dv, 1);
    for (Index i = 0; i < QUERIES; i++) {
        logs[i] = i < block.count ? lse[block.first + i] : INFINITY;  // weights of missing queries are 0
        if (i >= block.count) continue;
        const float *g = grad.at(block.first + i), *result = y.at(block.first + i);
        average[i] =
            sum_of(p.Dv, [&](Index c, auto lanes) { return load(g + c, lanes) * load(result + c, lanes); });
    }
    for (Index begin = 0; begin < block.end; begin += KEYS) {
        Index end = block.end - begin < KEYS ? block.end : begin + KEYS;
        auto place = [&](Index j, Index v) { return (j - begin) * QUERIES + v * LANES; };
        products(block, k, turned, p.D, begin, end, weights, [&](Index j, Index v, Floats s) {
            store(weights + place(j, v), exponential(seen(block, j, v, s - load(logs + v * LANES))));
        });
        for (Index j = begin; p.dropout.on && j < end; j += 4)
            draw(p.dropout, block, j, shares + (j - begin) * QUERIES);
        products(block, v, turned_grad, p.Dv, begin, end, slopes, [&](Index j, Index v, Floats d) {
            if (p.dropout.on) d *= load(shares + place(j, v));
            Floats centered = d - load(average + v * LANES);
            store(slopes + place(j, v), load(weights + place(j, v)) * centered * p.scale);
        });
        for (Index at = 0; p.dropout.on && at < (end - begin) * QUERIES; at += LANES)
            store(weights + at, load(weights + at) * load(shares + at));
        add_up(block, dv, weights, grad, p.Dv, begin, end);
        add_up(block, dk, slopes, q, p.D, begin, end);
        for (Index i = 0; i < block.count; i += ROWS) {
            Index until = block.until(i + ROWS - 1) < end ? block.until(i + ROWS - 1) : end;
            by_columns(until > begin ? p.D : 0, [&](Index c, auto number, auto last) {
                Floats tile[ROWS][decltype(number)::value];
                product(tile, ByColumns{slopes + i}, k.at(begin) + c, k.step, until - begin, last);
                for (Index r = 0; r < ROWS && i + r < block.count; r++) {
                    each(tile[r], last, [&](Index at, Floats sum, auto lanes) {
                        float* to = dq.at(block.first + i + r) + c + at;
                        store(to, begin ? load(to, lanes) + sum : sum, lanes);
                    });
                }
            });
        }
    }
}

bool run_forward(const Problem& p, Heads y, float* lse, Heads q, Heads k, Heads v) {
    bool failed = false;
    Index count = blocks(p), work = count ? p.Tq * p.Tk * (p.D + p.Dv) / count + 1 : 1;  // of a block
    parallel_for(p.B * p.H * count, (LEAST_WORK + work - 1) / work, [&](Index begin, Index end) {
        const Index copies = q.half ? (p.D + p.Dv) * (p.Tk + QUERIES) : 0;
        Scratch memory((p.D + p.Tk + ROWS) * QUERIES + ROWS + copies);
        if (!memory) {
            failed = true;
            return;
        }
        for (Index part = begin; part < end; part++) {
            Index head = part / count, b = head / p.H, h = head % p.H;
            Block block(p, head, count - 1 - part % count);  // the longest first
            const Span mine = {block.first, block.first + block.count}, seen = {0, block.end};
            float *logs = lse ? lse + head * p.Tq : nullptr, *free = memory.data();
            Rows queries = operand(q.of(b, h), mine, p.D, &free);
            Rows keys = operand(k.of(b, h / p.shared), seen, p.D, &free);
            Rows values = operand(v.of(b, h / p.shared), seen, p.Dv, &free);
            Rows found = results(y.of(b, h), mine, p.Dv, &free);
            if (block.count > FEW) forward(p, block, queries, keys, values, found, logs, free);
            for (Index i = 0; i < block.count && block.count <= FEW; i++)
                forward_one(p, block, i, queries, keys, values, found, logs, free);
            finish(y.of(b, h), mine, p.Dv, found);
        }
    });
    return !failed;
}

void clear(Rows rows, Index count, Index width) {
    for (Index i = 0; i < count; i++)
        memset(rows.at(i), 0, width * sizeof(float));
}

bool run_backward(const Problem& p, Heads dq, Heads dk, Heads dv, Heads grad, Heads q, Heads k, Heads v,
                  Heads y, const float* lse) {
    bool failed = false;
    run_parts(p.B * p.H, [&](Index head) {
        Index b = head / p.H, h = head % p.H;
        const Index copies = q.half ? 2 * (p.D + p.Dv) * (p.Tq + p.Tk) : 0;
        const Index arrays = p.dropout.on ? 3 : 2;
        Scratch memory((p.D + p.Dv + arrays * (KEYS + ROWS)) * QUERIES + ROWS + copies);
        if (!memory) {
            failed = true;
            return;
        }
        const Span queries = {0, p.Tq}, keys = {0, p.Tk};
        float* free = memory.data();
        Rows to_q = results(dq.of(b, h), queries, p.D, &free), to_k = results(dk.of(b, h), keys, p.D, &free);
        Rows to_v = results(dv.of(b, h), keys, p.Dv, &free);
        Rows of_q = operand(q.of(b, h), queries, p.D, &free);
        Rows of_k = operand(k.of(b, h / p.shared), keys, p.D, &free);
        Rows of_v = operand(v.of(b, h / p.shared), keys, p.Dv, &free);
        Rows of_y = operand(y.of(b, h), queries, p.Dv, &free);
        Rows g = operand(grad.of(b, h), queries, p.Dv, &free);
        clear(to_k, p.Tk, p.D);
        clear(to_v, p.Tk, p.Dv);
        for (Index number = 0; number < blocks(p); number++)
            backward(p, Block(p, head, number), to_q, to_k, to_v, g, of_q, of_k, of_v, of_y,
                     lse + head * p.Tq, free);
        finish(dq.of(b, h), queries, p.D, to_q);
        finish(dk.of(b, h), keys, p.D, to_k);
        finish(dv.of(b, h), keys, p.Dv, to_v);
    });
    return !failed;
}

Index size_of(const Array& a) { return a.is<Bf16>() ? sizeof(Bf16) : sizeof(float); }

// Whether the arrays have one type, and the elements of a head are contiguous.
template <class... Arrays>
bool readable(const Array& first, const Arrays&... others) {
    auto fits = [&](const Array& a) {
        return first.is<Bf16>() == a.is<Bf16>() && (a.is<Bf16>() || a.is<float>()) &&
               (a.stride(-1) == size_of(a) || a.shape(-1) == 1);
    };
    return fits(first) && (fits(others) && ...);
}

Index step(const Array& a, int axis) { return a.stride(axis) / size_of(a); }

Heads heads(const Array& a) {  // (B, H, T, D)
    return {a.data<char>(), step(a, 0), step(a, 1), step(a, 2), a.is<Bf16>()};
}

Heads heads(const Array& a, Index D, Index first = 0) {  // (B, T, heads side by side), from head `first` on
    return {a.data<char>() + first * D * size_of(a), step(a, 0), D, step(a, 1), a.is<Bf16>()};
}

Problem problem(const Array& q, const Array& k, const Array& v, bool causal, double scale,
                const Dropout& dropout) {
    Index shared = k.shape(1) ? q.shape(1) / k.shape(1) : 1;
    return {q.shape(0), q.shape(1), q.shape(2), k.shape(2), q.shape(3), v.shape(3), shared,
            causal,     (float)scale, dropout};
}

Problem packed(const Array& qkv, Index H, double scale, const Dropout& dropout) {
    Index T = qkv.shape(1), D = qkv.shape(2) / 3 / H;
    return {qkv.shape(0), H, T, T, D, D, 1, true, (float)scale, dropout};
}

}  // namespace

HOST_KERNEL bool attention_forward(Array y, Array lse, Array q, Array k, Array v, bool causal, double scale,
                                   double dropout, Index seed, Index offset) {
    if (!readable(y, q, k, v) || !dense<float>(lse)) return false;
    Problem p = problem(q, k, v, causal, scale, {dropout, seed, offset});
    return run_forward(p, heads(y), lse.data_or_null<float>(), heads(q), heads(k), heads(v));
}

HOST_KERNEL bool attention_backward(Array dq, Array dk, Array dv, Array grad, Array q, Array k, Array v,
                                    Array y, Array lse, bool causal, double scale, double dropout, Index seed,
                                    Index offset) {
    if (!readable(dq, dk, dv, grad, q, k, v, y) || !dense<float>(lse)) return false;
    Problem p = problem(q, k, v, causal, scale, {dropout, seed, offset});
    return run_backward(p, heads(dq), heads(dk), heads(dv), heads(grad), heads(q), heads(k), heads(v),
                        heads(y), lse.data<float>());
}

// The same for q, k and v of all heads packed in one array (B, T, 3 H D).
HOST_KERNEL bool attention_packed_forward(Array y, Array lse, Array qkv, Index H, double scale,
                                          double dropout, Index seed, Index offset) {
    if (!readable(y, qkv) || !dense<float>(lse)) return false;
    Problem p = packed(qkv, H, scale, {dropout, seed, offset});
    return run_forward(p, heads(y, p.D), lse.data_or_null<float>(), heads(qkv, p.D), heads(qkv, p.D, H),
                       heads(qkv, p.D, 2 * H));
}

HOST_KERNEL bool attention_packed_backward(Array dqkv, Array grad, Array qkv, Array y, Array lse, Index H,
                                           double scale, double dropout, Index seed, Index offset) {
    if (!readable(dqkv, grad, qkv, y) || !dense<float>(lse)) return false;
    Problem p = packed(qkv, H, scale, {dropout, seed, offset});
    return run_backward(p, heads(dqkv, p.D), heads(dqkv, p.D, H), heads(dqkv, p.D, 2 * H), heads(grad, p.D),
                        heads(qkv, p.D), heads(qkv, p.D, H), heads(qkv, p.D, 2 * H), heads(y, p.D),
                        lse.data<float>());
}
