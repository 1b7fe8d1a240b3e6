// Work that a thread starts and waits for later, on compute capability 9.0: barriers in shared memory whose
// phases count arrivals and bytes (mbarrier), copies of boxes by TMA, products of warpgroups (wgmma).
//
// A product is executed when its warp waits for it and not before: a missing wait, or a stage of shared
// memory or a register that is used again too early, shows in the results. The checked core also delays
// copies, until a thread waits for the phase that counts their bytes, and reports what no barrier orders.
#pragma once

namespace tt_emu {

// ---- barriers ---------------------------------------------------------------------------------------------

struct Phase {  // the 8 bytes of a barrier
    unsigned long long count : 20, missing : 20;  // arrivals of each phase, of this one
    long long bytes : 23;                         // expected and not yet written
    unsigned long long parity : 1;                // of the running phase
};
static_assert(sizeof(Phase) == 8, "as on the hardware");

struct Flying {  // a product of a thread
    Matrices matrices;
    float* d;
    unsigned group, left[4];  // left: what the registers of a held at its start
    Site site;
};
constexpr unsigned MOST_FLYING = 64;

// Of one worker.
struct Asynchronous {
    const Phase* awaited[MOST_THREADS];  // of each thread, or null
    unsigned groups[MOST_THREADS], flying[MOST_THREADS];
    bool begun[MOST_THREADS];  // products_begin since the last wait
    Flying products[MOST_THREADS][MOST_FLYING];
};

static Asynchronous& asynchronous_of(Worker& w) {
    if (!w.asynchronous) w.asynchronous = (Asynchronous*)calloc(1, sizeof(Asynchronous));
    if (!w.asynchronous) fail(w, "there is no memory for asynchronous work");
    return *w.asynchronous;
}

static bool awaits_phase(const Worker& w, unsigned thread) {
    return w.asynchronous && w.asynchronous->awaited[thread];
}

static void forget_asynchronous(Worker& w) {
    if (!w.asynchronous) return;
    memset(w.asynchronous->awaited, 0, sizeof w.asynchronous->awaited);
    memset(w.asynchronous->groups, 0, sizeof w.asynchronous->groups);
    memset(w.asynchronous->flying, 0, sizeof w.asynchronous->flying);
    memset(w.asynchronous->begun, 0, sizeof w.asynchronous->begun);
}

#ifdef TT_CHECKED
static void begin_phases(Worker& w, unsigned thread, const Phase* at, Site site);
static void check_initialized(Worker& w, const Phase* at, Site site);
static void release_phase(Worker& w, unsigned thread, const void* at);
static void acquire_phase(Worker& w, unsigned thread, const void* at, unsigned parity);
static void end_phase(const void* at, unsigned parity);
static void begin_copy(Worker& w, unsigned thread, char* to, const BoxMap& map, const int (&at)[4], Phase* by,
                       Site site);
static void finish_copies(Worker& w, Phase& phase, unsigned parity);
static void check_begun(Worker& w, unsigned thread, Site site);
static void check_left(Worker& w, unsigned thread, const Flying& product);
static void end_reading(Worker& w, unsigned thread, unsigned left);
#endif

static Phase& phase_at(Worker& w, void* at, Site site) {
    const Phase* const phase = (const Phase*)at;
    if (!phase->count && !phase->missing && !phase->parity)  // with these: all threads have dropped out
        fail(w, "the barrier at %s:%d was not initialized", site.file, site.line);
    TT_CHECK(check_initialized(w, (const Phase*)at, site);)
    return *(Phase*)at;
}

// If the phase is over, the next one begins, and those who wait for its end continue.
static void end_if_over(Worker& w, Phase& phase) {
    if (phase.missing || phase.bytes) return;
    TT_CHECK(end_phase(&phase, phase.parity);)
    phase.parity ^= 1;
    phase.missing = phase.count;
    Asynchronous& a = asynchronous_of(w);
    for (unsigned t = 0; t < w.threads; t++)
        if (a.awaited[t] == &phase) {
            a.awaited[t] = nullptr;
            make_ready(w, t / LANES, 1u << t % LANES);
        }
}

// ---- copies of boxes --------------------------------------------------------------------------------------

// The place of a byte in shared memory that is swizzled over 128, 64 or 32 bytes.
static char* swizzled(char* at, unsigned bytes) {
    const uintptr_t row = (uintptr_t)at >> 7 & (bytes / 16 ? bytes / 16 - 1 : 0);
    return (char*)((uintptr_t)at ^ row << 4);
}

constexpr unsigned MOST_ROW = 256 * 8;  // bytes of a row of a box

static unsigned rows_of(const BoxMap& map) {
    unsigned rows = 1;
    for (unsigned axis = 1; axis < map.rank; axis++) rows *= map.box[axis];
    return rows;
}

static unsigned bytes_of(const BoxMap& map) { return rows_of(map) * map.box[0] * map.itemsize; }

// Calls f with each row of a box: its place before swizzling, the first byte in bounds, where it comes from
// in global memory, and how many bytes are in bounds.
template <class F>
static void each_row(char* to, const BoxMap& map, const int (&at)[4], F f) {
    const unsigned row = map.box[0] * map.itemsize;
    for (unsigned i = 0; i < rows_of(map); i++, to += row) {
        long long first = at[0] < 0 ? -at[0] : 0, last = (long long)map.sizes[0] - at[0];
        if (last > map.box[0]) last = map.box[0];
        const char* from = (const char*)map.address;
        for (unsigned axis = 1, left = i; axis < map.rank; left /= map.box[axis++]) {
            const long long n = at[axis] + (long long)(left % map.box[axis]);
            if (n < 0 || n >= map.sizes[axis] || last < first) last = first = 0;
            from += n * (long long)map.steps[axis - 1];
        }
        from += (at[0] + first) * (long long)map.itemsize;
        f(to, (unsigned)first * map.itemsize, from, (unsigned)(last - first) * map.itemsize);
    }
}

static void copy_box(char* to, const BoxMap& map, const int (&at)[4]) {
    each_row(to, map, at, [&](char* row, unsigned first, const char* from, unsigned bytes) {
        char values[MOST_ROW] = {};
        memcpy(values + first, from, bytes);
        for (unsigned i = 0; i < map.box[0] * map.itemsize; i += 16)
            memcpy(swizzled(row + i, map.swizzle), values + i, 16);
    });
}

static void count_bytes(Worker& w, Phase& phase, const BoxMap& map) {
    phase.bytes -= (long long)bytes_of(map);
    end_if_over(w, phase);
}

// ---- products of warpgroups -------------------------------------------------------------------------------

constexpr unsigned SHARED_SPACE = 1 << 18;  // bytes that 14 bits address in units of 16

static const char* shared_start(const Worker& w) { return (const char*)w.shared_end - SHARED_SPACE; }

// Where a descriptor says that element (line, inner) of a matrix is; see matrix_at in kernels/hopper.cuh.
static const char* element_at(const Worker& w, unsigned long long matrix, bool across, unsigned line,
                              unsigned inner) {
    const size_t start = (matrix & 0x3fff) << 4, block = (matrix >> 16 & 0x3fff) << 4,
                 group = (matrix >> 32 & 0x3fff) << 4;
    const size_t at = across ? line / 64 * block + inner / 8 * group + inner % 8 * 128 + line % 64 * 2
                             : line / 8 * group + line % 8 * 128 + inner * 2;
    return swizzled((char*)shared_start(w) + start + at, 128);
}

static float value_at(const Worker& w, const Matrices& m, int which, unsigned line, unsigned inner) {
    unsigned short bits_;
    memcpy(&bits_, element_at(w, m.at[which], m.across[which], line, inner), 2);
    return m.kind == Matrix::half ? half_value(bits_) : bfloat16_value(bits_);
}

// Two rows of a, 8 apart, from the registers of 4 lanes: in the layout of m16n8k16.
static void rows_in_registers(const Worker& w, unsigned self, unsigned number, float (&rows)[2][16]) {
    for (unsigned t = 0; t < 4; t++) {
        const Matrices& m = w.asynchronous->products[self / 4 * 4 + t][number].matrices;
        for (unsigned i = 0; i < 4; i++)
            for (unsigned e = 0; e < 2; e++)
                rows[i % 2][i / 2 * 8 + 2 * t + e] = element(m.kind, m.left[i], (int)e);
    }
}

// The sums of one thread, in the order of the inner elements.
static void multiply_lines(const Worker& w, unsigned self, unsigned number) {
    const Flying& product = w.asynchronous->products[self][number];
    const Matrices& m = product.matrices;
    float rows[2][16], *d = product.d;
    const unsigned row = self % 128 / 32 * 16 + self % 32 / 4;
    if (m.left) rows_in_registers(w, self, number, rows);
    for (unsigned h = 0; !m.left && h < 2; h++)
        for (unsigned k = 0; k < 16; k++) rows[h][k] = value_at(w, m, 0, row + 8 * h, k);
    for (unsigned j = 0; j < m.columns / 4; j++) {
        float sums[2];
        const unsigned i = j / 2 * 4 + j % 2, column = j / 2 * 8 + self % 4 * 2 + j % 2;
        for (unsigned h = 0; h < 2; h++) sums[h] = m.add ? d[i + 2 * h] : 0.0f;
        for (unsigned k = 0; k < 16; k++) {
            const float b = value_at(w, m, 1, column, k);
            for (unsigned h = 0; h < 2; h++) sums[h] += rows[h][k] * b;
        }
        for (unsigned h = 0; h < 2; h++) d[i + 2 * h] = sums[h];
    }
}

// The lanes of a warp have converged in products_wait: after it none of them still reads.
static void finish_products(Worker& w, unsigned warp) {
    Asynchronous& a = asynchronous_of(w);
    const unsigned left = *(const unsigned*)w.wait[warp][0].operand, first = warp * LANES;
    unsigned over = 0;
    while (over < a.flying[first] && a.products[first][over].group + left < a.groups[first]) over++;
    for (unsigned i = 0; i < over; i++)
        for (unsigned t = first; t < first + LANES; t++) {
            TT_CHECK(check_left(w, t, a.products[t][i]);)
            multiply_lines(w, t, i);
        }
    for (unsigned t = first; t < first + LANES; t++) {
        a.flying[t] -= over;
        memmove(a.products[t], a.products[t] + over, a.flying[t] * sizeof(Flying));
    }
}

static void check_matrices(Worker& w, const Matrices& m, Site site) {
    for (unsigned which = m.left ? 1 : 0; which < 2; which++) {
        const unsigned long long matrix = m.at[which];
        if (matrix >> 62 != 1 || matrix >> 49 & 7)
            fail(w, "wgmma at %s:%d: the emulator reads matrices that are swizzled by 128 bytes", site.file,
                 site.line);
        if (shared_start(w) + ((matrix & 0x3fff) << 4) < (const char*)w.job.dynamic_shared)
            fail(w, "wgmma at %s:%d: a matrix does not begin in dynamic shared memory", site.file, site.line);
    }
}

}  // namespace tt_emu

TT_API unsigned tt_emu_shared_address(Worker* w, const void* p) {
    return (unsigned)((const char*)p - shared_start(*w));
}

TT_API void tt_emu_phase_init(Worker* worker, unsigned self, void* at, unsigned count, Site site) {
    Worker& w = *worker;
    enter(w, self, site);
    if (!count) fail(w, "a barrier at %s:%d of no arrivals", site.file, site.line);
    *(Phase*)at = {count, count, 0, 0};
    TT_CHECK(begin_phases(w, self, (const Phase*)at, site);)
}

TT_API void tt_emu_phase_arrive(Worker* worker, unsigned self, void* at, unsigned bytes, Site site) {
    Worker& w = *worker;
    enter(w, self, site);
    Phase& phase = phase_at(w, at, site);
    if (!phase.missing) fail(w, "one arrival too many at the barrier at %s:%d", site.file, site.line);
    TT_CHECK(release_phase(w, self, &phase);)
    phase.bytes += bytes;
    phase.missing--;
    end_if_over(w, phase);
}

TT_SWITCHES void tt_emu_phase_wait(Worker* worker, unsigned self, void* at, unsigned parity, Site site) {
    Worker& w = *worker;
    enter(w, self, site);
    Phase& phase = phase_at(w, at, site);
    for (;;) {
        TT_CHECK(finish_copies(w, phase, parity);)
        if (phase.parity != parity) break;
        asynchronous_of(w).awaited[self] = &phase;
        pause(w, self);
    }
    TT_CHECK(acquire_phase(w, self, &phase, parity & 1);)
}

TT_API void tt_emu_copy_box(Worker* worker, unsigned self, void* to, const void* map, unsigned rank,
                            const int* corner, void* barrier, Site site) {
    Worker& w = *worker;
    enter(w, self, site);
    const BoxMap& box = *(const BoxMap*)map;
    const int at[4] = {corner[0], corner[1], corner[2], corner[3]};
    Phase& phase = phase_at(w, barrier, site);
    if (box.rank != rank)
        fail(w, "copy_box at %s:%d: the map has %u axes, not %u", site.file, site.line, box.rank, rank);
    if ((uintptr_t)to % 1024)
        fail(w, "copy_box at %s:%d: the box begins at no multiple of 1024 bytes", site.file, site.line);
#ifdef TT_CHECKED
    begin_copy(w, self, (char*)to, box, at, &phase, site);
#else
    copy_box((char*)to, box, at);
    count_bytes(w, phase, box);
#endif
}

TT_API void tt_emu_products_begin(Worker* w, unsigned self) { asynchronous_of(*w).begun[self] = true; }

TT_SWITCHES void tt_emu_product(Worker* worker, unsigned self, float* d, const Matrices& matrices,
                                Site site) {
    Worker& w = *worker;
    TT_CHECK({ Whole whole(w); count_product(matrices.kind, site, 2 * 64 * matrices.columns * 16 / 128); })
    TT_CHECK(check_begun(w, self, site);)
    Asynchronous& a = asynchronous_of(w);
    WarpProduct operand = {&matrices, self};
    meet(w, self, ~0u, WGMMA, &operand, site);
    check_matrices(w, matrices, site);
    if (a.flying[self] == MOST_FLYING)
        fail(w, "%u products at %s:%d, and no wait for them", MOST_FLYING, site.file, site.line);
    Flying& product = a.products[self][a.flying[self]++];
    product = {matrices, d, a.groups[self], {}, site};
    if (matrices.left) memcpy(product.left, matrices.left, sizeof product.left);
}

TT_API void tt_emu_products_commit(Worker* w, unsigned self) { asynchronous_of(*w).groups[self]++; }

TT_SWITCHES void tt_emu_products_wait(Worker* worker, unsigned self, unsigned left, Site site) {
    Worker& w = *worker;
    asynchronous_of(w).begun[self] = false;
    TT_CHECK(end_reading(w, self, left);)
    meet(w, self, ~0u, WGMMA_WAIT, &left, site);
}
