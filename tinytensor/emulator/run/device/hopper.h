// Barriers that count bytes, copies of boxes, products of warpgroups: the emulator's implementation of
// kernels/hopper.cuh. The core has the work.
#pragma once

namespace tt_hopper {

using Barrier = unsigned long long;

TT_INLINE unsigned shared_address(const void* p) { return tt_emu_shared_address(tt_emu::worker, p); }

TT_INLINE void barrier_init(Barrier* barrier, unsigned count, TT_SITE) {
    tt_emu::Pause pause;
    tt_emu_phase_init(tt_emu::worker, tt_emu::self(), barrier, count, TT_HERE);
}
TT_INLINE void barrier_init_fence() { TT_CHECK(tt_checked_phases_fence(tt_emu::self());) }
TT_INLINE void barrier_arrive_and_expect(Barrier* barrier, unsigned bytes, TT_SITE) {
    tt_emu::Pause pause;
    tt_emu_phase_arrive(tt_emu::worker, tt_emu::self(), barrier, bytes, TT_HERE);
}
TT_INLINE void barrier_arrive(Barrier* barrier, TT_SITE) {
    barrier_arrive_and_expect(barrier, 0, file, line);
}
TT_INLINE void barrier_wait(Barrier* barrier, unsigned parity, TT_SITE) {
    tt_emu::Pause pause;
    tt_emu_phase_wait(tt_emu::worker, tt_emu::self(), barrier, parity, TT_HERE);
}

TT_INLINE void copy_box(void* shared, const void* map, int x, int y, int z, Barrier* barrier, TT_SITE) {
    tt_emu::Pause pause;
    const int at[4] = {x, y, z, 0};
    tt_emu_copy_box(tt_emu::worker, tt_emu::self(), shared, map, 3, at, barrier, TT_HERE);
}
TT_INLINE void copy_box(void* shared, const void* map, int x, int y, int z, int w, Barrier* barrier,
                        TT_SITE) {
    tt_emu::Pause pause;
    const int at[4] = {x, y, z, w};
    tt_emu_copy_box(tt_emu::worker, tt_emu::self(), shared, map, 4, at, barrier, TT_HERE);
}
TT_INLINE void prefetch_map(const void*) {}

TT_INLINE void products_begin() { tt_emu_products_begin(tt_emu::worker, tt_emu::self()); }
TT_INLINE void products_commit() { tt_emu_products_commit(tt_emu::worker, tt_emu::self()); }
template <int N>
TT_INLINE void products_wait(TT_SITE) {
    tt_emu::Pause pause;
    tt_emu_products_wait(tt_emu::worker, tt_emu::self(), N, TT_HERE);
}
TT_INLINE void multiply(float* d, const tt_emu::Matrices& matrices, tt_emu::Site site) {
    tt_emu::Pause pause;
    tt_emu_product(tt_emu::worker, tt_emu::self(), d, matrices, site);
}
template <class E, bool A_ACROSS, bool B_ACROSS, int D>
TT_INLINE void m64k16(float (&d)[D], unsigned long long a, unsigned long long b, bool add, TT_SITE) {
    static_assert(D == 96 || D == 128, "b has 192 or 256 columns");
    multiply(d, {tt_mma::kind_of<E>(), 2 * D, {a, b}, {A_ACROSS, B_ACROSS}, add, nullptr}, TT_HERE);
}
template <class E, bool B_ACROSS, int C>
TT_INLINE void m64k16(float (&d)[C][4], unsigned long long a, unsigned long long b, bool add, TT_SITE) {
    static_assert(C == 8 || C == 16, "b has 64 or 128 columns");
    multiply(d[0], {tt_mma::kind_of<E>(), 8 * C, {a, b}, {false, B_ACROSS}, add, nullptr}, TT_HERE);
}
template <class E, bool B_ACROSS, int C>
TT_INLINE void m64k16(float (&d)[C][4], const unsigned (&a)[4], unsigned long long b, bool add, TT_SITE) {
    static_assert(C == 8 || C == 16, "b has 64 or 128 columns");
    multiply(d[0], {tt_mma::kind_of<E>(), 8 * C, {0, b}, {false, B_ACROSS}, add, a}, TT_HERE);
}

template <int N>
TT_INLINE void give_registers() {}
template <int N>
TT_INLINE void take_registers() {}

}  // namespace tt_hopper
