#include "line.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace headrace {

namespace {

int checked(int result, const char* what)
{
    if (result < 0)
        throw std::system_error(errno, std::generic_category(), what);
    return result;
}

void set_nonblocking(int fd)
{
    checked(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), "fcntl");
}

bool would_block()
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

}  // namespace

Line::Line(uint16_t port, bool pty)
{
    listen(port);
    if (pty)
        open_pty();
    fflush(stdout);
}

Line::~Line()
{
    for (int fd : {listener_, tcp_.fd, pty_master_})
        if (fd >= 0)
            close(fd);
}

void Line::listen(uint16_t port)
{
    listener_ = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    checked(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), "bind to the TCP port");
    checked(::listen(listener_, 1), "listen on the TCP port");
    checked(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
    set_nonblocking(listener_);
    printf("uart: tcp 127.0.0.1:%u\n", ntohs(address.sin_port));
}

void Line::open_pty()
{
    pty_master_ = checked(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), "open a pseudo-terminal");
    checked(grantpt(pty_master_), "grantpt");
    checked(unlockpt(pty_master_), "unlockpt");
    const char* name = ptsname(pty_master_);
    // A terminal that was never opened looks like one that is open; after this, hang-up means that nobody is there.
    int terminal = checked(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC), "open the pseudo-terminal");
    termios settings{};
    checked(tcgetattr(terminal, &settings), "tcgetattr");
    cfmakeraw(&settings);
    checked(tcsetattr(terminal, TCSANOW, &settings), "tcsetattr");
    close(terminal);
    set_nonblocking(pty_master_);
    printf("uart: pty %s\n", name);
}

void Line::come(Client& client, int fd)
{
    client.fd = fd;
    client.unsent.swap(kept_);
}

void Line::leave(Client& client)
{
    if (client.fd != pty_master_)
        close(client.fd);
    client.fd = -1;
    client.unsent.clear();
    left_ = true;
}

void Line::send(char byte)
{
    for (Client* client : {&tcp_, &pty_})
        if (client->fd >= 0)
            client->unsent += byte;
    if (tcp_.fd < 0 && pty_.fd < 0)
        kept_ += byte;
}

// Whether the client is still there.
bool Line::receive(Client& client)
{
    char bytes[4096];
    while (input_.size() < limit) {
        ssize_t count = read(client.fd, bytes, sizeof bytes);
        if (count > 0)
            input_.append(bytes, static_cast<size_t>(count));
        else
            return count < 0 && would_block();
    }
    return true;
}

void Line::flush(Client& client)
{
    if (client.unsent.empty())
        return;
    ssize_t count = write(client.fd, client.unsent.data(), client.unsent.size());
    if (count > 0)
        client.unsent.erase(0, static_cast<size_t>(count));
}

void Line::poll()
{
    input_.erase(0, next_);
    next_ = 0;
    pollfd tcp = {tcp_.fd >= 0 ? tcp_.fd : listener_, POLLIN, 0};
    pollfd pty = {pty_master_, POLLIN, 0};
    pollfd both[] = {tcp, pty};
    if (::poll(both, 2, 0) > 0) {
        if (tcp_.fd < 0 && both[0].revents) {
            int fd = accept(listener_, nullptr, nullptr);
            if (fd >= 0) {
                int on = 1;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                set_nonblocking(fd);
                come(tcp_, fd);
            }
        } else if (both[0].revents && !receive(tcp_)) {
            leave(tcp_);
        }
    }
    if (pty_master_ >= 0) {
        bool present = !(both[1].revents & POLLHUP);
        auto now = std::chrono::steady_clock::now();
        if (!present)
            absent_ = now;
        if (present && pty_.fd < 0 && (both[1].revents & POLLIN || now - absent_ >= settling))
            come(pty_, pty_master_);
        if (pty_.fd >= 0 && (both[1].revents & (POLLIN | POLLHUP)))
            present = receive(pty_) && present;
        if (pty_.fd >= 0 && !present)
            leave(pty_);
    }
    for (Client* client : {&tcp_, &pty_})
        if (client->fd >= 0)
            flush(*client);
}

}  // namespace headrace
