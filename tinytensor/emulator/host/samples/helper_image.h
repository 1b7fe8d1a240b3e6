// Images as PGM and PPM files, and comparisons of arrays. Written for the emulator.
#pragma once
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

// Reads a binary PGM or PPM file, of 1 or 3 bytes a pixel; the memory is malloc'ed unless it is given.
static inline bool tt_load_image(const char* name, unsigned char** data, unsigned* w, unsigned* h,
                                 unsigned* channels) {
    FILE* file = fopen(name, "rb");
    char magic[3] = "";
    unsigned numbers[3];
    if (!file || fscanf(file, "%2s", magic) != 1) return false;
    for (unsigned& number : numbers) {
        while (fscanf(file, " #%*[^\n]") > 0) {
        }
        int c;
        while ((c = fgetc(file)) == '#' || c == ' ' || c == '\n' || c == '\r' || c == '\t')
            if (c == '#')
                while ((c = fgetc(file)) != '\n' && c != EOF) {
                }
        ungetc(c, file);
        if (fscanf(file, "%u", &number) != 1) return fclose(file), false;
    }
    fgetc(file);
    *w = numbers[0], *h = numbers[1], *channels = strcmp(magic, "P5") ? 3 : 1;
    const size_t size = (size_t)*w * *h * *channels;
    if (!*data) *data = (unsigned char*)malloc(size);
    const bool whole = fread(*data, 1, size, file) == size;
    fclose(file);
    return whole;
}
static inline bool tt_save_image(const char* name, const unsigned char* data, unsigned w, unsigned h,
                                 unsigned channels) {
    FILE* file = fopen(name, "wb");
    if (!file) return false;
    fprintf(file, "P%d\n%u\n%u\n255\n", channels == 1 ? 5 : 6, w, h);
    const bool whole = fwrite(data, 1, (size_t)w * h * channels, file) == (size_t)w * h * channels;
    fclose(file);
    return whole;
}

template <class T>
static inline bool sdkLoadPGM(const char* name, T** data, unsigned* w, unsigned* h) {
    unsigned char* bytes = nullptr;
    unsigned channels;
    if (!tt_load_image(name, &bytes, w, h, &channels)) return false;
    const size_t n = (size_t)*w * *h;
    if (!*data) *data = (T*)malloc(n * sizeof(T));
    for (size_t i = 0; i < n; i++) (*data)[i] = sizeof(T) == 1 ? (T)bytes[i] : (T)(bytes[i] / 255.0f);
    free(bytes);
    return true;
}
template <class T>
static inline bool sdkSavePGM(const char* name, T* data, unsigned w, unsigned h) {
    std::vector<unsigned char> bytes((size_t)w * h);
    for (size_t i = 0; i < bytes.size(); i++)
        bytes[i] = (unsigned char)(sizeof(T) == 1 ? (float)data[i] : (float)data[i] * 255.0f);
    return tt_save_image(name, bytes.data(), w, h, 1);
}
static inline bool sdkLoadPPM4ub(const char* name, unsigned char** data, unsigned* w, unsigned* h) {
    unsigned char* bytes = nullptr;
    unsigned channels;
    if (!tt_load_image(name, &bytes, w, h, &channels) || channels != 3) return false;
    const size_t n = (size_t)*w * *h;
    *data = (unsigned char*)malloc(4 * n);
    for (size_t i = 0; i < n; i++) {
        memcpy(*data + 4 * i, bytes + 3 * i, 3);
        (*data)[4 * i + 3] = 0;
    }
    free(bytes);
    return true;
}
static inline bool sdkSavePPM4ub(const char* name, unsigned char* data, unsigned w, unsigned h) {
    std::vector<unsigned char> bytes((size_t)w * h * 3);
    for (size_t i = 0; i < (size_t)w * h; i++) memcpy(&bytes[3 * i], data + 4 * i, 3);
    return tt_save_image(name, bytes.data(), w, h, 3);
}

static inline bool __loadPPM(const char* name, unsigned char** data, unsigned* w, unsigned* h,
                             unsigned* channels) {
    return tt_load_image(name, data, w, h, channels);
}
static inline bool __savePPM(const char* name, unsigned char* data, unsigned w, unsigned h,
                             unsigned channels) {
    return tt_save_image(name, data, w, h, channels);
}

// Whether at most a share of the elements differ by more than epsilon.
template <class T, class E>
static inline bool tt_compare(const T* a, const T* b, size_t n, E epsilon, float share = 0.0f) {
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) wrong += !(fabs((double)a[i] - (double)b[i]) <= (double)epsilon);
    return (double)wrong <= (double)share * (double)n;
}
template <class T, class E>
static inline bool compareData(const T* a, const T* b, unsigned n, E epsilon, float share) {
    return tt_compare(a, b, n, epsilon, share);
}
static inline bool compareData(const float* a, const float* b, unsigned n, float epsilon, float share) {
    return tt_compare(a, b, n, epsilon, share);
}
// Whether two images have one shape, and at most a share of their bytes differ by more than epsilon.
static inline bool sdkComparePPM(const char* image, const char* reference, float epsilon, float share,
                                 bool) {
    unsigned char *a = nullptr, *b = nullptr;
    unsigned w, h, reference_w, reference_h;
    const bool same = image && reference && sdkLoadPPM4ub(image, &a, &w, &h) &&
                      sdkLoadPPM4ub(reference, &b, &reference_w, &reference_h) && w == reference_w &&
                      h == reference_h && tt_compare(a, b, (size_t)w * h * 4, epsilon, share);
    free(a), free(b);
    return same;
}
// Whether the difference is small relative to the reference, in the Euclidean norm.
static inline bool sdkCompareL2fe(const float* reference, const float* data, unsigned n, float epsilon) {
    double error = 0, norm = 0;
    for (unsigned i = 0; i < n; i++) {
        const double difference = (double)reference[i] - data[i];
        error += difference * difference, norm += (double)reference[i] * reference[i];
    }
    return norm > 1e-7 && sqrt(error / norm) < epsilon;
}
static inline bool compareL2fe(const float* reference, const float* data, unsigned n, float epsilon) {
    return sdkCompareL2fe(reference, data, n, epsilon);
}
template <class T>
static inline bool sdkReadFile(const char* name, T** data, unsigned* n, bool = false) {
    std::vector<T> values;
    FILE* file = fopen(name, "r");
    if (!file) return false;
    double value;
    while (fscanf(file, "%lf", &value) == 1) values.push_back((T)value);
    fclose(file);
    if (!*data) *data = (T*)malloc(values.size() * sizeof(T)), *n = (unsigned)values.size();
    memcpy((void*)*data, values.data(), (values.size() < *n ? values.size() : *n) * sizeof(T));
    return true;
}
template <class T, class S>
static inline bool sdkWriteFile(const char* name, const T* data, unsigned n, const S, bool, bool = false) {
    FILE* file = fopen(name, "w");
    if (!file) return false;
    for (unsigned i = 0; i < n; i++) fprintf(file, "%.9g ", (double)data[i]);
    fclose(file);
    return true;
}
