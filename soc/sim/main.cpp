// The simulated board: the SoC at full speed, its UART as a TCP port and a pseudo-terminal.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

#include "Vsoc.h"
#include "Vsoc___024root.h"
#include "line.h"
#include "verilated.h"

namespace {

constexpr char usage[] =
    "usage: Vsoc [--rom FILE] [--port N] [--pty] [--quiet] [--exit-on-disconnect] [--timestamps FILE]\n"
    "  --rom FILE            firmware image (default: ../firmware/firmware.bin, seen from the simulator)\n"
    "  --port N              TCP port on 127.0.0.1 (default 0: a free one)\n"
    "  --pty                 a pseudo-terminal, too\n"
    "  --quiet               no status lines on stderr\n"
    "  --exit-on-disconnect  end when a client leaves\n"
    "  --timestamps FILE     a line for each falling edge of the timestamp pin: its cycle\n";

constexpr int slice = 1024;           // cycles between looks at the serial line
constexpr int status_seconds = 5;     // between status lines
constexpr double clock_hz = CLOCK_HZ;

volatile sig_atomic_t stopped = 0;

void stop(int)
{
    stopped = 1;
}

struct Options {
    std::string rom, timestamps;
    uint16_t port = 0;
    bool pty = false, quiet = false, exit_on_disconnect = false;
};

Options parse(int argc, char** argv)
{
    Options options;
    for (int i = 1; i < argc; i++) {
        std::string word = argv[i];
        auto value = [&] {
            if (++i == argc)
                throw std::invalid_argument(word + " wants a value");
            return std::string(argv[i]);
        };
        if (word == "--rom") {
            options.rom = value();
        } else if (word == "--port") {
            std::string text = value();
            char* end;
            unsigned long port = strtoul(text.c_str(), &end, 10);
            if (text.empty() || *end || port > 65535)
                throw std::invalid_argument("--port wants a number from 0 to 65535, not " + text);
            options.port = static_cast<uint16_t>(port);
        } else if (word == "--timestamps") {
            options.timestamps = value();
        } else if (word == "--pty") {
            options.pty = true;
        } else if (word == "--quiet") {
            options.quiet = true;
        } else if (word == "--exit-on-disconnect") {
            options.exit_on_disconnect = true;
        } else if (word == "--help") {
            fputs(usage, stdout);
            exit(0);
        } else {
            throw std::invalid_argument("no such option: " + word + "\n" + usage);
        }
    }
    if (options.rom.empty()) {
        char path[4096];
        ssize_t size = readlink("/proc/self/exe", path, sizeof path);
        std::string self = size > 0 ? std::string(path, static_cast<size_t>(size)) : argv[0];
        options.rom = self.substr(0, self.rfind('/') + 1) + "../firmware/firmware.bin";
    }
    return options;
}

void load_rom(Vsoc& soc, const std::string& path)
{
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw std::runtime_error(path + ": the firmware cannot be read");
    std::string image((std::istreambuf_iterator<char>(file)), {});
    auto& rom = soc.rootp->soc__DOT__rom;
    constexpr size_t size = sizeof rom.m_storage;
    if (image.empty() || image.size() > size)
        throw std::runtime_error(path + ": the firmware has " + std::to_string(image.size()) + " bytes; the ROM takes 1 to " +
                                 std::to_string(size));
    image.resize(size);
    for (size_t i = 0; i < size / 4; i++) {
        uint32_t word = 0;
        for (size_t byte = 0; byte < 4; byte++)
            word |= static_cast<uint32_t>(static_cast<uint8_t>(image[4 * i + byte])) << (8 * byte);
        rom[i] = word;
    }
}

// One cycle. What crosses the UART's wires does so at the rising edge.
void step(Vsoc& soc, headrace::Line& line)
{
    bool sends = soc.serial_source_valid && soc.serial_source_ready;
    char sent = static_cast<char>(soc.serial_source_data);
    bool takes = soc.serial_sink_valid && soc.serial_sink_ready;
    soc.sys_clk = 1;
    soc.accelerator_clk = soc.accelerator_active;
    soc.eval();
    if (sends) {
        line.send(sent);
        soc.serial_source_ready = line.may_send();
    }
    if (takes) {
        line.take_input();
        soc.serial_sink_valid = false;
    }
    if (!soc.serial_sink_valid && line.has_input()) {
        soc.serial_sink_valid = true;
        soc.serial_sink_data = static_cast<uint8_t>(line.input());
    }
    soc.sys_clk = 0;
    soc.accelerator_clk = 0;
    soc.eval();
}

void run(const Options& options)
{
    auto context = std::make_unique<VerilatedContext>();
    auto soc = std::make_unique<Vsoc>(context.get());
    soc->eval();
    load_rom(*soc, options.rom);
    soc->eval();
    std::ofstream timestamps;
    if (!options.timestamps.empty()) {
        timestamps.open(options.timestamps);
        if (!timestamps)
            throw std::runtime_error(options.timestamps + ": cannot be written");
    }
    headrace::Line line(options.port, options.pty);  // announces the board, so all else has to be well by now

    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    auto last = begin;
    uint64_t cycles = 0, last_cycles = 0;
    auto report = [&](Clock::time_point since, uint64_t cycles_since) {
        double seconds = std::chrono::duration<double>(Clock::now() - since).count();
        fprintf(stderr, "%llu cycles, %.3f s simulated, %.2f MHz\n", static_cast<unsigned long long>(cycles),
                static_cast<double>(cycles) / clock_hz, static_cast<double>(cycles - cycles_since) / seconds / 1e6);
    };
    while (!stopped && !(options.exit_on_disconnect && line.was_left())) {
        line.poll();
        soc->serial_source_ready = line.may_send();
        for (int i = 0; i < slice; i++) {
            bool high = soc->timestamp0;
            step(*soc, line);
            if (high && !soc->timestamp0 && timestamps.is_open())
                timestamps << cycles + static_cast<uint64_t>(i) << std::endl;  // as a meter would see it, at once
        }
        cycles += slice;
        if (options.quiet || cycles % (1 << 16))
            continue;
        if (Clock::now() - last >= std::chrono::seconds(status_seconds)) {
            report(last, last_cycles);
            last = Clock::now();
            last_cycles = cycles;
        }
    }
    if (!options.quiet)
        report(begin, 0);
    soc->final();
}

}  // namespace

int main(int argc, char** argv)
{
    struct sigaction action {};
    action.sa_handler = stop;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
    try {
        run(parse(argc, argv));
    } catch (const std::exception& error) {
        fprintf(stderr, "Vsoc: %s\n", error.what());
        return 1;
    }
    return 0;
}
