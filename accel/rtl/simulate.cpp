// Runs frames through the core as fast as its streams allow, or with random pauses on both sides.
//
// stdin:  seed (u32), chance of a pause in 256ths at the input and at the output (u32 each), clear (u32), frames (u32),
//         input beats (u32), output beats (u32), limit in cycles (u32), input words a beat, output words a beat (u32 each),
//         then the input beats, 32-bit words, lowest first.
// stdout: the output beats in the same form, then of each frame the cycles of its first input and last output beat (u64 each).
// With clear not 0 the first frame is interrupted by `clear` after so many cycles and is then sent anew.
#include "Vcore.h"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <vector>

double sc_time_stamp() { return 0; }

template <typename Port> void put(Port &port, const uint32_t *words, size_t count) {
    if constexpr (std::is_integral<Port>::value) {
        uint64_t value = words[0];
        if (count > 1) value |= uint64_t(words[1]) << 32;
        port = Port(value);
    } else {
        for (size_t i = 0; i < count; i++) port[i] = words[i];
    }
}

template <typename Port> void get(const Port &port, uint32_t *words, size_t count) {
    if constexpr (std::is_integral<Port>::value) {
        for (size_t i = 0; i < count; i++) words[i] = uint32_t(uint64_t(port) >> (32 * i));
    } else {
        for (size_t i = 0; i < count; i++) words[i] = port[i];
    }
}

struct Random { // xorshift
    uint32_t state;
    bool pause(uint32_t chance) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        return ((state >> 8) & 255) < chance;
    }
};

int main() {
    uint32_t h[10];
    if (fread(h, 4, 10, stdin) != 10) return 2;
    const uint32_t input_pause = h[1], output_pause = h[2], clear = h[3], frames = h[4], in_beats = h[5], out_beats = h[6];
    const uint64_t limit = h[7];
    const size_t in_words = h[8], out_words = h[9];
    std::vector<uint32_t> in(size_t(frames) * in_beats * in_words), out(size_t(frames) * out_beats * out_words);
    if (fread(in.data(), 4, in.size(), stdin) != in.size()) return 2;
    std::vector<uint64_t> times(2 * size_t(frames));

    VerilatedContext context;
    Vcore core{&context};
    Random random{h[0] * 2654435761u + 1};
    auto edge = [&] {
        core.clk = 1;
        core.eval();
        core.clk = 0;
    };
    core.clk = 0;
    core.rst = 1;
    core.clear = 0;
    core.input___05Fvalid = 0;
    core.output___05Fready = 0;
    core.eval();
    edge();
    core.rst = 0;

    const uint64_t in_total = uint64_t(frames) * in_beats, out_total = uint64_t(frames) * out_beats;
    uint64_t sent = 0, got = 0, cycle = 0, last = 0;
    bool offering = false, standing = false;
    std::vector<uint32_t> held(out_words), now(out_words);
    while (got < out_total && cycle - last < limit) {
        const bool clearing = clear && cycle == clear;
        if (!offering) offering = sent < in_total && !random.pause(input_pause);
        core.input___05Fvalid = offering;
        if (offering) put(core.input___05Fpayload, &in[sent * in_words], in_words);
        core.output___05Fready = !random.pause(output_pause);
        core.clear = clearing;
        core.eval();
        if (core.output___05Fvalid) {
            get(core.output___05Fpayload, now.data(), out_words);
            if (standing && now != held) return 3; // the payload must stand until it is taken
            held = now;
        } else if (standing) {
            return 4; // and so must valid
        }
        standing = core.output___05Fvalid && !core.output___05Fready;
        if (offering && core.input___05Fready) {
            if (sent % in_beats == 0) times[2 * (sent / in_beats)] = cycle;
            sent++;
            offering = false;
        }
        if (core.output___05Fvalid && core.output___05Fready) {
            memcpy(&out[got * out_words], now.data(), 4 * out_words);
            if (got % out_beats == out_beats - 1) times[2 * (got / out_beats) + 1] = cycle;
            got++;
            last = cycle;
        }
        edge();
        cycle++;
        if (clearing) {
            sent = got = 0;
            offering = standing = false;
        }
    }
    fwrite(out.data(), 4, out.size(), stdout);
    fwrite(times.data(), 8, times.size(), stdout);
    return got < out_total ? 5 : 0;
}
