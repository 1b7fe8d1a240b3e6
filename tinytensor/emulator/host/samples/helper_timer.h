// Stopwatches. Written for the emulator: times are those of the CPU.
#pragma once
#include <chrono>

class StopWatchInterface {
  public:
    using Clock = std::chrono::steady_clock;
    void start() { begun = Clock::now(), running = true; }
    void stop() {
        if (!running) return;
        last = since();
        total += last, sessions++, running = false;
    }
    void reset() { total = last = 0, sessions = 0, begun = Clock::now(); }
    float getTime() { return running ? total + since() : total; }
    float getAverageTime() { return sessions ? total / (float)sessions : 0.0f; }

  private:
    float since() const { return std::chrono::duration<float, std::milli>(Clock::now() - begun).count(); }
    Clock::time_point begun{};
    float total = 0, last = 0;
    int sessions = 0;
    bool running = false;
};

static inline bool sdkCreateTimer(StopWatchInterface** timer) {
    return *timer = new StopWatchInterface, true;
}
static inline bool sdkDeleteTimer(StopWatchInterface** timer) {
    delete *timer;
    *timer = nullptr;
    return true;
}
static inline bool sdkStartTimer(StopWatchInterface** timer) {
    return *timer ? (*timer)->start(), true : false;
}
static inline bool sdkStopTimer(StopWatchInterface** timer) {
    return *timer ? (*timer)->stop(), true : false;
}
static inline bool sdkResetTimer(StopWatchInterface** timer) {
    return *timer ? (*timer)->reset(), true : false;
}
static inline float sdkGetTimerValue(StopWatchInterface** timer) {
    return *timer ? (*timer)->getTime() : 0.0f;
}
static inline float sdkGetAverageTimerValue(StopWatchInterface** timer) {
    return *timer ? (*timer)->getAverageTime() : 0.0f;
}
