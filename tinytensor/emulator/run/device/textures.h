// Textures: reads between elements, outside of an array, or of narrow integers as fractions.
// An object is the address of a Texture, which the host makes; coordinates and filters are as in the CUDA
// programming guide, appendix on texture fetching (fractions in 8 bits).
#pragma once

typedef unsigned long long cudaTextureObject_t;
enum cudaTextureReadMode { cudaReadModeElementType, cudaReadModeNormalizedFloat };
enum cudaTextureFilterMode { cudaFilterModePoint, cudaFilterModeLinear };
enum cudaTextureAddressMode {
    cudaAddressModeWrap,
    cudaAddressModeClamp,
    cudaAddressModeMirror,
    cudaAddressModeBorder
};
enum cudaChannelFormatKind {
    cudaChannelFormatKindSigned,
    cudaChannelFormatKindUnsigned,
    cudaChannelFormatKindFloat
};

namespace tt_emu {

struct Texture {
    char* data;
    int size[2];            // elements along x and y; 1 where there is no such axis
    size_t pitch;           // bytes from one row to the next
    int kind, bits, count;  // of a channel (cudaChannelFormatKind), and how many an element has
    int address[2], filter, read, normalized;
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
TT_INLINE E texture_channel(const Texture& t, int x, int y, int channel) {
    if (channel >= t.count) return (E)0;
    if (x < 0 || y < 0) return (E)t.border[channel];
    const char* at = t.data + (size_t)y * t.pitch + ((size_t)x * t.count + channel) * (size_t)(t.bits / 8);
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
TT_NOSAN static T texture_read(const Texture& t, float x, float y) {
    typedef typename Channels<T>::type E;
    const TexturePlace px = texture_place(t, 0, x),
                       py = axes > 1 ? texture_place(t, 1, y) : TexturePlace{0, 0, 0};
    T result;
    for (int c = 0; c < Channels<T>::count; c++) {
        E value;
        if (t.filter == cudaFilterModePoint) {
            value = texture_channel<E>(t, px.first, py.first, c);
        } else {
            float sum = 0;
            for (int corner = 0; corner < 1 << axes; corner++) {
                const bool i = corner & 1, j = corner & 2;
                const float weight = (i ? px.weight : 1 - px.weight) * (j ? py.weight : 1 - py.weight);
                sum += weight *
                       texture_channel<float>(t, i ? px.second : px.first, j ? py.second : py.first, c);
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
        ((E*)&result)[c] = texture_channel<E>(t, x < t.size[0] ? x : -1, 0, c);
    return result;
}
}  // namespace tt_emu

#define TT_LIST(...) __VA_ARGS__
#define TT_TEXTURE(NAME, DECLARED, READ, ...)                                            \
    template <class T>                                                                   \
    TT_RETURNS T NAME(cudaTextureObject_t object, TT_LIST DECLARED) {                    \
        return tt_emu::copy_of(tt_emu::READ(tt_emu::texture_at(object), __VA_ARGS__));   \
    }
TT_TEXTURE(tex1Dfetch, (int x), texture_element<T>, x)
TT_TEXTURE(tex1D, (float x), TT_LIST(texture_read<T, 1>), x, 0)
TT_TEXTURE(tex2D, (float x, float y), TT_LIST(texture_read<T, 2>), x, y)
#undef TT_TEXTURE
#undef TT_LIST
