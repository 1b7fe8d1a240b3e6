// Arrays and textures of one and two axes as the host makes them; kernels read them by textures.h.
#pragma once

struct cudaChannelFormatDesc {
    int x, y, z, w;
    cudaChannelFormatKind f;
};
struct cudaArray {
    cudaChannelFormatDesc desc;
    size_t width, height;  // in elements; a height of 0: one axis
    void* data;

    size_t element() const { return (size_t)(desc.x + desc.y + desc.z + desc.w) / 8; }
    size_t pitch() const { return width * element(); }
    size_t rows() const { return height ? height : 1; }
};
typedef cudaArray* cudaArray_t;
typedef const cudaArray* cudaArray_const_t;
enum cudaResourceType {
    cudaResourceTypeArray,
    cudaResourceTypeMipmappedArray,
    cudaResourceTypeLinear,
    cudaResourceTypePitch2D
};
struct cudaResourceDesc {
    cudaResourceType resType;
    union {
        struct {
            cudaArray_t array;
        } array;
        struct {
            void* devPtr;
            cudaChannelFormatDesc desc;
            size_t sizeInBytes;
        } linear;
        struct {
            void* devPtr;
            cudaChannelFormatDesc desc;
            size_t width, height, pitchInBytes;
        } pitch2D;
    } res;
};
struct cudaTextureDesc {
    cudaTextureAddressMode addressMode[3];
    cudaTextureFilterMode filterMode;
    cudaTextureReadMode readMode;
    int sRGB;
    float borderColor[4];
    int normalizedCoords;
    unsigned maxAnisotropy;
    cudaTextureFilterMode mipmapFilterMode;
    float mipmapLevelBias, minMipmapLevelClamp, maxMipmapLevelClamp;
    int disableTrilinearOptimization;
};

static inline cudaChannelFormatDesc cudaCreateChannelDesc(int x, int y, int z, int w,
                                                          cudaChannelFormatKind f) {
    return {x, y, z, w, f};
}
template <class T>
static inline cudaChannelFormatDesc cudaCreateChannelDesc() {
    typedef typename tt_emu::Channels<T>::type E;
    const int bits = 8 * (int)sizeof(E), count = tt_emu::Channels<T>::count;
    const auto kind = E(0.5f) != E(0) ? cudaChannelFormatKindFloat
                      : E(-1) < E(0)  ? cudaChannelFormatKindSigned
                                      : cudaChannelFormatKindUnsigned;
    return {bits, count > 1 ? bits : 0, count > 2 ? bits : 0, count > 3 ? bits : 0, kind};
}

static inline cudaError_t cudaMallocArray(cudaArray_t* array, const cudaChannelFormatDesc* desc,
                                          size_t width, size_t height = 0, unsigned = 0, TT_SITE) {
    *array = new cudaArray{*desc, width, height, nullptr};
    return cudaMalloc(&(*array)->data, (*array)->pitch() * (*array)->rows(), file, line);
}
static inline cudaError_t cudaFreeArray(cudaArray_t array, TT_SITE) {
    if (!array) return cudaSuccess;
    const cudaError_t error = cudaFree(array->data, file, line);
    delete array;
    return error;
}

// Offsets and widths in bytes.
static inline cudaError_t cudaMemcpy2DToArray(cudaArray_t to, size_t x, size_t y, const void* from,
                                              size_t pitch, size_t width, size_t height,
                                              cudaMemcpyKind kind, TT_SITE) {
    return cudaMemcpy2D((char*)to->data + y * to->pitch() + x, to->pitch(), from, pitch, width, height,
                        kind, file, line);
}
static inline cudaError_t cudaMemcpyToArray(cudaArray_t to, size_t x, size_t y, const void* from,
                                            size_t bytes, cudaMemcpyKind kind, TT_SITE) {
    return cudaMemcpy((char*)to->data + y * to->pitch() + x, from, bytes, kind, file, line);
}

static inline cudaError_t cudaCreateTextureObject(cudaTextureObject_t* object,
                                                  const cudaResourceDesc* resource,
                                                  const cudaTextureDesc* how, const void* = nullptr) {
    auto* t = new tt_emu::Texture{};
    cudaChannelFormatDesc desc = {};
    if (resource->resType == cudaResourceTypeArray) {
        const cudaArray& a = *resource->res.array.array;
        desc = a.desc;
        *t = {(char*)a.data, {(int)a.width, (int)a.rows()}, a.pitch()};
    } else if (resource->resType == cudaResourceTypeLinear) {
        const auto& l = resource->res.linear;
        desc = l.desc;
        *t = {(char*)l.devPtr, {(int)(l.sizeInBytes * 8 / (desc.x + desc.y + desc.z + desc.w)), 1}, 0};
    } else if (resource->resType == cudaResourceTypePitch2D) {
        const auto& p = resource->res.pitch2D;
        desc = p.desc;
        *t = {(char*)p.devPtr, {(int)p.width, (int)p.height}, p.pitchInBytes};
    } else {
        delete t;
        return cudaErrorNotSupported;
    }
    t->kind = desc.f, t->bits = desc.x;
    t->count = (desc.x > 0) + (desc.y > 0) + (desc.z > 0) + (desc.w > 0);
    if (how) {
        for (int i = 0; i < 2; i++) t->address[i] = how->addressMode[i];
        for (int i = 0; i < 4; i++) t->border[i] = how->borderColor[i];
        t->filter = how->filterMode, t->read = how->readMode, t->normalized = how->normalizedCoords;
    }
    *object = (cudaTextureObject_t)t;
    return cudaSuccess;
}
static inline cudaError_t cudaDestroyTextureObject(cudaTextureObject_t object) {
    delete (tt_emu::Texture*)object;
    return cudaSuccess;
}
