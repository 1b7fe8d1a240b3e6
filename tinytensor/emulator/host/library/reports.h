// Records for the process that started the program: fields with a unit separator between, a record
// separator at the end. Without such a process (the program was started alone) messages go to standard
// error.
#pragma once
#include <execinfo.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include <string>

#include "memory.h"

namespace tt_program {

class Record {
  public:
    explicit Record(const char* kind) : text(kind) {}
    ~Record() {
        static const char* given = getenv("TINYTENSOR_PROGRAM_REPORT");
        text += '\x1e';
        const char* at = text.data();
        for (size_t left = given ? text.size() : 0; left;) {
            const ssize_t sent = write(atoi(given), at, left);
            if (sent <= 0) break;
            at += sent, left -= (size_t)sent;
        }
    }
    Record& operator<<(const std::string& field) {
        text += '\x1f' + field;
        return *this;
    }
    Record& operator<<(const char* field) { return *this << std::string(field ? field : ""); }
    Record& operator<<(const void* code) {  // an offset in the program's file, plus one; 0: not in it
        const bool known = program().holds(code);
        return *this << std::to_string(known ? (const char*)code - program().start + 1 : 0);
    }
    template <class T>
    Record& operator<<(T number) {
        return *this << std::to_string(number);
    }

  private:
    std::string text;
};

static cudaError_t last_error, sticky_error;

// The error of a call, noted with its place.
static cudaError_t failed(cudaError_t error, const char* function, const char* file, int line,
                          std::string why) {
    last_error = error;
    Record("error") << function << cudaGetErrorName(error) << file << line << why;
    return error;
}

// Memory that was never freed. After a sticky error cudaFree fails, too.
static void report_leaks() {
    if (sticky_error) return;
    for (auto& [start, b] : blocks)
        Record("leak") << b.bytes << (int)b.kind << b.file << b.line;
}

// Where host code faults: the innermost place in the program's own code.
static void on_host_fault(int signal, siginfo_t* info, void* context) {
    void* frames[64];
    const int count = backtrace(frames, 64);
    const void* code = nullptr;
    for (int i = 0; i < count && !code; i++)
        if (program().holds(frames[i])) code = (const char*)frames[i] - 1;
    const void* at = tt_emu::code_of(context);
    if (program().holds(at)) code = at;
    const auto block = block_near(info->si_addr);
    {
        Record record("host");
        record << code << (size_t)info->si_addr << signal;
        if (block != blocks.end()) {
            const Block& b = block->second;
            record << ((const char*)info->si_addr - block->first) << b.bytes << (int)b.kind << b.file
                   << b.line;
        }
    }
    fflush(stdout);
    ::signal(signal, SIG_DFL);
    raise(signal);
}

__attribute__((constructor)) static void begin_program() {
    if (getenv("TINYTENSOR_PROGRAM_LEAKS")) atexit(report_leaks);
    // Who reads the records may be killed, and cannot end the program then.
    if (getenv("TINYTENSOR_PROGRAM_REPORT")) prctl(PR_SET_PDEATHSIG, SIGKILL);
    static char stack[1 << 16];
    stack_t own = {};
    own.ss_sp = stack, own.ss_size = sizeof stack;
    sigaltstack(&own, nullptr);
    void* frame;
    backtrace(&frame, 1);  // loads what it needs
    struct sigaction action = {};
    action.sa_sigaction = on_host_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
}

}  // namespace tt_program
