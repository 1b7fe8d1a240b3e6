// Thrust for the emulator: pointers to memory of the device, and vectors. Written for it; algorithms run on
// one thread of the host, which may then touch that memory.
#pragma once
#include <cstddef>
#include <initializer_list>
#include <iostream>
#include <iterator>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda_runtime.h"

extern "C" __attribute__((visibility("default"))) void tt_open_memory(bool open);

namespace thrust {

struct system_error : std::runtime_error {
    explicit system_error(cudaError_t error) : std::runtime_error(cudaGetErrorString(error)), number(error) {}
    cudaError_t number;
};

namespace detail {
inline void check(cudaError_t error) {
    if (error == cudaErrorMemoryAllocation) throw std::bad_alloc();
    if (error) throw system_error(error);
}
template <class T>
T* allocate(size_t n) {
    T* p = nullptr;
    check(cudaMalloc(&p, n * sizeof(T)));
    return p;
}
template <class T>
void move(T* to, const T* from, size_t n) {
    if (n) check(cudaMemcpy((void*)to, (const void*)from, n * sizeof(T), cudaMemcpyDefault));
}
}  // namespace detail

// Type of `*pointer` in host code: reads and writes copy one element.
template <class T>
class device_reference {
  public:
    using value_type = std::remove_const_t<T>;
    explicit device_reference(T* p) : p(p) {}
    device_reference(const device_reference&) = default;
    operator value_type() const {
        if (tt_in_kernel()) return *p;
        value_type value;
        detail::move(&value, (const value_type*)p, 1);
        return value;
    }
    const device_reference& operator=(const value_type& value) const {
        if (tt_in_kernel()) *(value_type*)p = value;
        else detail::move((value_type*)p, &value, 1);
        return *this;
    }
    const device_reference& operator=(const device_reference& other) const {
        return *this = (value_type)other;
    }
    const device_reference& operator+=(const value_type& v) const { return *this = (value_type)*this + v; }
    T* operator&() const { return p; }

  private:
    T* p;
};
template <class S, class T>
S& operator<<(S& stream, const device_reference<T>& r) {
    return stream << (std::remove_const_t<T>)r, stream;
}

// Base of all iterators: Derived has `at` (a position) and get(i), the value i places on.
template <class Derived, class Value, class Reference = Value>
struct iterator_facade {
    using value_type = Value;
    using reference = Reference;
    using pointer = void;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::random_access_iterator_tag;

    Reference operator*() const { return self().get(0); }
    Reference operator[](difference_type i) const { return self().get(i); }
    Derived& operator+=(difference_type n) { return self().at += n, self(); }
    Derived& operator-=(difference_type n) { return self().at += -n, self(); }
    Derived& operator++() { return self() += 1; }
    Derived& operator--() { return self() += -1; }
    Derived operator++(int) {
        const Derived before = self();
        return ++*this, before;
    }
    friend Derived operator+(Derived a, difference_type n) { return a += n; }
    friend Derived operator+(difference_type n, Derived a) { return a += n; }
    friend Derived operator-(Derived a, difference_type n) { return a += -n; }
    friend difference_type operator-(const Derived& a, const Derived& b) {
        return (difference_type)(a.at - b.at);
    }
    friend bool operator==(const Derived& a, const Derived& b) { return a.at == b.at; }
    friend bool operator!=(const Derived& a, const Derived& b) { return !(a.at == b.at); }
    friend bool operator<(const Derived& a, const Derived& b) { return a - b < 0; }

  private:
    const Derived& self() const { return *(const Derived*)this; }
    Derived& self() { return *(Derived*)this; }
};

template <class T>
struct device_ptr : iterator_facade<device_ptr<T>, std::remove_const_t<T>, device_reference<T>> {
    using pointer = device_ptr;
    T* at = nullptr;

    device_ptr() = default;
    device_ptr(std::nullptr_t) {}
    explicit device_ptr(T* p) : at(p) {}
    template <class U, class = std::enable_if_t<std::is_convertible_v<U*, T*>>>
    device_ptr(const device_ptr<U>& other) : at(other.get()) {}
    T* get() const { return at; }
    device_reference<T> get(std::ptrdiff_t i) const { return device_reference<T>(at + i); }
    explicit operator bool() const { return at; }
};
template <>
struct device_ptr<void> {
    device_ptr() = default;
    explicit device_ptr(void* p) : p(p) {}
    template <class T>
    device_ptr(const device_ptr<T>& other) : p(other.get()) {}
    void* get() const { return p; }
    template <class T>
    explicit operator device_ptr<T>() const { return device_ptr<T>((T*)p); }

  private:
    void* p = nullptr;
};

template <class T>
T* raw_pointer_cast(T* p) { return p; }
template <class T>
T* raw_pointer_cast(const device_ptr<T>& p) { return p.get(); }
template <class T>
device_ptr<T> device_pointer_cast(T* p) { return device_ptr<T>(p); }
inline device_ptr<void> device_malloc(size_t bytes) {
    return device_ptr<void>(detail::allocate<char>(bytes));
}
template <class T>
device_ptr<T> device_malloc(size_t n) { return device_ptr<T>(detail::allocate<T>(n)); }
template <class T>
void device_free(device_ptr<T> p) { detail::check(cudaFree((void*)p.get())); }

template <class T, class A = void>
class device_vector;

template <class T, class A = void>
class host_vector : public std::vector<T> {
  public:
    using std::vector<T>::vector;
    using std::vector<T>::operator=;
    host_vector() = default;
    host_vector(const host_vector&) = default;
    host_vector(host_vector&&) = default;
    host_vector(const std::vector<T>& other) : std::vector<T>(other) {}
    template <class U>
    host_vector(const device_vector<U>& other) { *this = other; }
    host_vector(device_ptr<const T> first, device_ptr<const T> last) { read(first.get(), last - first); }
    host_vector(device_ptr<T> first, device_ptr<T> last) { read(first.get(), last - first); }
    host_vector& operator=(const host_vector&) = default;
    host_vector& operator=(host_vector&&) = default;
    template <class U>
    host_vector& operator=(const device_vector<U>& other) {
        std::vector<U> values(other.size());
        detail::move(values.data(), other.data().get(), other.size());
        this->assign(values.begin(), values.end());
        return *this;
    }

  private:
    void read(const T* from, size_t n) {
        this->resize(n);
        detail::move(this->data(), from, n);
    }
};

template <class T, class A>
class device_vector {
  public:
    using value_type = T;
    using size_type = size_t;
    using difference_type = std::ptrdiff_t;
    using reference = device_reference<T>;
    using const_reference = device_reference<const T>;
    using pointer = device_ptr<T>;
    using iterator = device_ptr<T>;
    using const_iterator = device_ptr<const T>;

    device_vector() = default;
    explicit device_vector(size_t n, const T& value = T()) { resize(n, value); }
    device_vector(std::initializer_list<T> values) { take(values.begin(), values.end()); }
    template <class I, class = typename std::iterator_traits<I>::iterator_category>
    device_vector(I first, I last) { take(first, last); }
    device_vector(const device_vector& other) { take(other.begin(), other.end()); }
    device_vector(device_vector&& other) noexcept { swap(other); }
    template <class V, class = decltype(std::declval<const V&>().begin())>
    device_vector(const V& other) { take(other.begin(), other.end()); }
    ~device_vector() { cudaFree(start); }
    device_vector& operator=(const device_vector& other) {
        if (this != &other) assign(other.begin(), other.end());
        return *this;
    }
    device_vector& operator=(device_vector&& other) noexcept { return swap(other), *this; }
    template <class V, class = typename V::value_type>
    device_vector& operator=(const V& other) { return assign(other.begin(), other.end()), *this; }

    iterator begin() { return iterator(start); }
    iterator end() { return iterator(start + count); }
    const_iterator begin() const { return const_iterator(start); }
    const_iterator end() const { return const_iterator(start + count); }
    pointer data() { return pointer(start); }
    device_ptr<const T> data() const { return device_ptr<const T>(start); }
    reference operator[](size_t i) { return reference(start + i); }
    const_reference operator[](size_t i) const { return const_reference(start + i); }
    reference front() { return (*this)[0]; }
    reference back() { return (*this)[count - 1]; }
    size_t size() const { return count; }
    size_t capacity() const { return room; }
    bool empty() const { return count == 0; }

    void reserve(size_t n) {
        if (n <= room) return;
        T* to = detail::allocate<T>(n);
        detail::move(to, start, count);
        cudaFree(start);
        start = to, room = n;
    }
    void resize(size_t n, const T& value = T()) {
        reserve(n);
        if (n > count) {
            const std::vector<T> values(n - count, value);
            move_in(count, values);
        }
        count = n;
    }
    void clear() { count = 0; }
    void push_back(const T& value) {
        if (count == room) reserve(room ? 2 * room : 8);
        resize(count + 1, value);
    }
    void pop_back() { count--; }
    template <class I, class = typename std::iterator_traits<I>::iterator_category>
    void assign(I first, I last) {
        device_vector made(first, last);
        swap(made);
    }
    iterator erase(iterator first, iterator last) {
        std::vector<T> rest(end() - last);
        detail::move(rest.data(), last.get(), rest.size());
        detail::move(first.get(), rest.data(), rest.size());
        count = (first - begin()) + rest.size();
        return first;
    }
    void swap(device_vector& other) noexcept {
        std::swap(start, other.start), std::swap(count, other.count), std::swap(room, other.room);
    }

  private:
    T* start = nullptr;
    size_t count = 0, room = 0;

    void move_in(size_t at, const std::vector<T>& values) {
        if constexpr (std::is_same_v<T, bool>) {
            for (size_t i = 0; i < values.size(); i++) (*this)[at + i] = values[i];
        } else {
            detail::move(start + at, values.data(), values.size());
        }
    }
    template <class I>
    void take(I first, I last);
};

template <class T>
bool operator==(const device_vector<T>& a, const device_vector<T>& b) {
    return host_vector<T>(a) == host_vector<T>(b);
}
template <class T>
void swap(device_vector<T>& a, device_vector<T>& b) { a.swap(b); }
template <class T>
void swap(device_ptr<T>& a, device_ptr<T>& b) { std::swap(a, b); }

}  // namespace thrust
