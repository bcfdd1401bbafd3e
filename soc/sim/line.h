// The device's serial line towards the host: at most one client on a TCP port and one on a pseudo-terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace headrace {

// One way for a client to come: its file descriptor while it is there, and what it has not taken yet.
struct Client {
    int fd = -1;
    std::string unsent;
};

class Line {
public:
    // A port of 0 takes a free one. Prints a line for each way to stdout. Throws std::system_error.
    Line(uint16_t port, bool pty);
    ~Line();
    Line(const Line&) = delete;
    Line& operator=(const Line&) = delete;

    // Moves bytes between here and the clients, and lets clients come and go. Never blocks.
    void poll();

    // From the device. What it says while nobody is there is kept for the first to come.
    bool may_send() const { return kept_.size() + tcp_.unsent.size() + pty_.unsent.size() < limit; }
    void send(char byte);

    // To the device.
    bool has_input() const { return next_ < input_.size(); }
    char input() const { return input_[next_]; }
    void take_input() { ++next_; }

    // Whether a client was there and left.
    bool was_left() const { return left_; }

private:
    static constexpr size_t limit = 1 << 16;  // bytes each way; then the device, or the client, has to wait
    // Programs that open a serial port (pyserial, for one) then throw away what has come in: what is said to them before
    // would be lost. After that time they listen, and before, if they speak.
    static constexpr std::chrono::milliseconds settling{200};

    void listen(uint16_t port);
    void open_pty();
    void come(Client& client, int fd);
    void leave(Client& client);
    bool receive(Client& client);
    void flush(Client& client);

    int listener_ = -1;
    int pty_master_ = -1;
    Client tcp_, pty_;
    std::chrono::steady_clock::time_point absent_;  // when nobody had the pseudo-terminal open
    std::string kept_, input_;
    size_t next_ = 0;
    bool left_ = false;
};

}  // namespace headrace
