// Textures and surfaces: reads between elements, outside of an array, or of narrow integers as fractions.
// An object is the address of a Texture, which the host makes; coordinates and filters are as in the CUDA
// programming guide, appendix on texture fetching (fractions in 8 bits).
#pragma once

typedef unsigned long long cudaTextureObject_t, cudaSurfaceObject_t, CUtexObject;
#ifndef TT_PROGRAM
struct cudaExtent {
    size_t width, height, depth;
};
#endif
enum cudaTextureReadMode { cudaReadModeElementType, cudaReadModeNormalizedFloat };
enum cudaTextureFilterMode { cudaFilterModePoint, cudaFilterModeLinear };
enum cudaTextureAddressMode {
    cudaAddressModeWrap,
    cudaAddressModeClamp,
    cudaAddressModeMirror,
    cudaAddressModeBorder
};
enum cudaSurfaceBoundaryMode { cudaBoundaryModeZero, cudaBoundaryModeClamp, cudaBoundaryModeTrap };
enum cudaChannelFormatKind {
    cudaChannelFormatKindSigned,
    cudaChannelFormatKindUnsigned,
    cudaChannelFormatKindFloat
};

namespace tt_emu {

struct Texture {
    char* data;
    int size[3];            // elements along x, y and z; 1 where there is no such axis
    size_t steps[2];        // bytes from one row to the next, from one layer to the next
    int kind, bits, count;  // of a channel (cudaChannelFormatKind), and how many an element has
    int address[3], filter, read, normalized;
    float border[4];
};

template <class T>
struct Channels {
    typedef T type;
    static constexpr int count = 1;
};
#define TT_CHANNELS(T, N)               \
    template <>                         \
    struct Channels<N##1> {             \
        typedef T type;                 \
        static constexpr int count = 1; \
    };                                  \
    template <>                         \
    struct Channels<N##2> {             \
        typedef T type;                 \
        static constexpr int count = 2; \
    };                                  \
    template <>                         \
    struct Channels<N##4> {             \
        typedef T type;                 \
        static constexpr int count = 4; \
    };
TT_CHANNELS(signed char, char)
TT_CHANNELS(unsigned char, uchar) TT_CHANNELS(short, short) TT_CHANNELS(unsigned short, ushort)
    TT_CHANNELS(int, int) TT_CHANNELS(unsigned, uint) TT_CHANNELS(float, float)
#undef TT_CHANNELS

    // The element of a coordinate, or -1: outside, so the border.
    TT_INLINE int texture_index(int i, int size, int mode, bool normalized) {
    if (i >= 0 && i < size) return i;
    if (mode == cudaAddressModeBorder) return -1;
    if (normalized && mode == cudaAddressModeWrap) return ((i % size) + size) % size;
    if (normalized && mode == cudaAddressModeMirror) {
        const int at = ((i % (2 * size)) + 2 * size) % (2 * size);
        return at < size ? at : 2 * size - 1 - at;
    }
    return i < 0 ? 0 : size - 1;
}

template <class E>
TT_INLINE E texture_channel(const Texture& t, int x, int y, int z, int channel) {
    if (channel >= t.count) return (E)0;
    if (x < 0 || y < 0 || z < 0) return (E)t.border[channel];
    const char* at = t.data + (size_t)z * t.steps[1] + (size_t)y * t.steps[0] +
                     ((size_t)x * t.count + channel) * (size_t)(t.bits / 8);
    if (t.kind == cudaChannelFormatKindFloat)
        return (E)(t.bits == 16 ? half_value(*(const unsigned short*)at) : *(const float*)at);
    const bool is_signed = t.kind == cudaChannelFormatKindSigned;
    const long long value = t.bits == 8    ? (is_signed ? *(const signed char*)at : *(const unsigned char*)at)
                            : t.bits == 16 ? (is_signed ? *(const short*)at : *(const unsigned short*)at)
                            : is_signed    ? (long long)*(const int*)at
                                           : (long long)*(const unsigned*)at;
    if (t.read != cudaReadModeNormalizedFloat || t.bits == 32) return (E)value;
    const float most = is_signed ? (t.bits == 8 ? 127.0f : 32767.0f) : (t.bits == 8 ? 255.0f : 65535.0f);
    return (E)fmaxf((float)value / most, -1.0f);
}

struct TexturePlace {  // the two neighbors along an axis, and the weight of the second one
    int first, second;
    float weight;
};
TT_INLINE TexturePlace texture_place(const Texture& t, int axis, float x) {
    const int size = t.size[axis], mode = t.address[axis];
    if (t.normalized) x *= (float)size;
    if (t.filter == cudaFilterModePoint) {
        const int i = texture_index(saturated<int>(floorf(x)), size, mode, t.normalized);
        return {i, i, 0.0f};
    }
    const float low = floorf(x - 0.5f);
    return {texture_index(saturated<int>(low), size, mode, t.normalized),
            texture_index(saturated<int>(low) + 1, size, mode, t.normalized),
            rintf((x - 0.5f - low) * 256) / 256};
}

template <class T, int axes>
TT_NOSAN static T texture_read(const Texture& t, float x, float y, float z) {
    typedef typename Channels<T>::type E;
    const TexturePlace px = texture_place(t, 0, x),
                       py = axes > 1 ? texture_place(t, 1, y) : TexturePlace{0, 0, 0},
                       pz = axes > 2 ? texture_place(t, 2, z) : TexturePlace{0, 0, 0};
    T result;
    for (int c = 0; c < Channels<T>::count; c++) {
        E value;
        if (t.filter == cudaFilterModePoint) {
            value = texture_channel<E>(t, px.first, py.first, pz.first, c);
        } else {
            float sum = 0;
            for (int corner = 0; corner < 1 << axes; corner++) {
                const bool i = corner & 1, j = corner & 2, k = corner & 4;
                const float weight = (i ? px.weight : 1 - px.weight) * (j ? py.weight : 1 - py.weight) *
                                     (k ? pz.weight : 1 - pz.weight);
                sum += weight * texture_channel<float>(t, i ? px.second : px.first, j ? py.second : py.first,
                                                       k ? pz.second : pz.first, c);
            }
            value = (E)sum;
        }
        ((E*)&result)[c] = value;
    }
    return result;
}
TT_INLINE const Texture& texture_at(cudaTextureObject_t object) { return *(const Texture*)object; }

template <class T>
TT_NOSAN static T texture_element(const Texture& t, int x) {
    T result;
    typedef typename Channels<T>::type E;
    for (int c = 0; c < Channels<T>::count; c++)
        ((E*)&result)[c] = texture_channel<E>(t, x < t.size[0] ? x : -1, 0, 0, c);
    return result;
}
template <class T>
TT_NOSAN static T texture_gather(const Texture& texture, float x, float y, int channel) {
    Texture t = texture;
    t.filter = cudaFilterModeLinear;
    const TexturePlace px = texture_place(t, 0, x), py = texture_place(t, 1, y);
    typedef typename Channels<T>::type E;
    return {texture_channel<E>(t, px.first, py.second, 0, channel),
            texture_channel<E>(t, px.second, py.second, 0, channel),
            texture_channel<E>(t, px.second, py.first, 0, channel),
            texture_channel<E>(t, px.first, py.first, 0, channel)};
}
}  // namespace tt_emu

// The objects of the emulator have one level, which is read for every level of detail.
#define TT_LIST(...) __VA_ARGS__
#define TT_TEXTURE(NAME, DECLARED, READ, ...)                                            \
    template <class T>                                                                   \
    TT_RETURNS T NAME(cudaTextureObject_t object, TT_LIST DECLARED) {                    \
        return tt_emu::copy_of(tt_emu::READ(tt_emu::texture_at(object), __VA_ARGS__));   \
    }
TT_TEXTURE(tex1Dfetch, (int x), texture_element<T>, x)
TT_TEXTURE(tex1D, (float x), TT_LIST(texture_read<T, 1>), x, 0, 0)
TT_TEXTURE(tex2D, (float x, float y), TT_LIST(texture_read<T, 2>), x, y, 0)
TT_TEXTURE(tex3D, (float x, float y, float z), TT_LIST(texture_read<T, 3>), x, y, z)
TT_TEXTURE(tex2DLod, (float x, float y, float), TT_LIST(texture_read<T, 2>), x, y, 0)
TT_TEXTURE(tex2DGrad, (float x, float y, float2, float2), TT_LIST(texture_read<T, 2>), x, y, 0)
TT_TEXTURE(tex2Dgather, (float x, float y, int channel = 0), texture_gather<T>, x, y, channel)
#undef TT_TEXTURE

// Surfaces: x is in bytes. Outside: nothing is written, zeros are read; Clamp takes the nearest element.
namespace tt_emu {
template <class T>
TT_INLINE T* surface_at(cudaSurfaceObject_t object, int x, int y, int z, cudaSurfaceBoundaryMode mode,
                        Site site) {
    const Texture& t = *(const Texture*)object;
    int at[3] = {x / (int)sizeof(T), y, z};
    for (int axis = 0; axis < 3; axis++) {
        if (at[axis] >= 0 && at[axis] < t.size[axis]) continue;
        if (mode == cudaBoundaryModeTrap) tt_emu_trap(worker, self(), site);
        if (mode == cudaBoundaryModeZero) return nullptr;
        at[axis] = at[axis] < 0 ? 0 : t.size[axis] - 1;
    }
    return (T*)(t.data + (size_t)at[2] * t.steps[1] + (size_t)at[1] * t.steps[0]) + at[0];
}
}  // namespace tt_emu
#define TT_SURFACE(NAME, DECLARED, GIVEN, PLACE)                                                         \
    template <class T>                                                                                   \
    TT_RETURNS T surf##NAME##read(cudaSurfaceObject_t s, TT_LIST DECLARED,                               \
                                  cudaSurfaceBoundaryMode mode = cudaBoundaryModeTrap, TT_SITE) {        \
        const T* at = tt_emu::surface_at<T>(s, TT_LIST PLACE, mode, TT_HERE);                            \
        return tt_emu::copy_of(at ? *at : T());                                                          \
    }                                                                                                    \
    template <class T>                                                                                   \
    static inline void surf##NAME##read(T* to, cudaSurfaceObject_t s, TT_LIST DECLARED,                  \
                                        cudaSurfaceBoundaryMode mode = cudaBoundaryModeTrap, TT_SITE) {  \
        *to = surf##NAME##read<T>(s, TT_LIST GIVEN, mode, file, line);                                   \
    }                                                                                                    \
    template <class T>                                                                                   \
    static inline void surf##NAME##write(T value, cudaSurfaceObject_t s, TT_LIST DECLARED,               \
                                         cudaSurfaceBoundaryMode mode = cudaBoundaryModeTrap, TT_SITE) { \
        if (T *at = tt_emu::surface_at<T>(s, TT_LIST PLACE, mode, TT_HERE)) *at = value;                 \
    }
TT_SURFACE(1D, (int x), (x), (x, 0, 0))
TT_SURFACE(2D, (int x, int y), (x, y), (x, y, 0))
TT_SURFACE(3D, (int x, int y, int z), (x, y, z), (x, y, z))
#undef TT_SURFACE
#undef TT_LIST
