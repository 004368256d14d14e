// See runnel/detail/socket_file.hpp, whose steps are named here.
#include <runnel/detail/socket_file.hpp>

#include <atomic>
#include <cerrno>
#include <utility>

namespace runnel::detail {

namespace {

/// Step 1. Is the name free now?
bool remove_stale(socket_calls& calls, native_address at) noexcept {
    file_id looked_at, still_there;
    if (calls.find_file(at, looked_at) < 0) return false;
    if (calls.look_for_socket(at) != -ECONNREFUSED) return false;
    if (calls.find_file(at, still_there) < 0 || !(looked_at == still_there)) return false;
    return calls.remove_file(at) >= 0;
}
}

socket_file::socket_file(socket_file&& other) noexcept
    : at_(other.at_), id_(other.id_), ours_(std::exchange(other.ours_, false)) {}

socket_file& socket_file::operator=(socket_file&& other) noexcept {
    socket_file taken(std::move(other));
    std::swap(at_, taken.at_);
    std::swap(id_, taken.id_);
    std::swap(ours_, taken.ours_);
    return *this;
}

int socket_file::bind(socket_calls& calls, int fd, const unix_address& to, const unix_options& how) noexcept {
    const native_address at = native(to);
    int status = calls.bind(fd, at);
    if (status == -EADDRINUSE && to.is_path() && how.replace_stale() && remove_stale(calls, at))
        status = calls.bind(fd, at);
    if (status < 0 || !to.is_path()) return status;
    at_ = to;
    ours_ = calls.find_file(at, id_) >= 0;
    if (how.mode() >= 0) status = calls.set_file_mode(at, static_cast<unsigned>(how.mode()));
    if (status < 0)
        remove();
    else if (how.keep_file())
        ours_ = false;
    return status;
}

void socket_file::remove() noexcept {
    if (!std::atomic_ref<bool>(ours_).exchange(false)) return;
    socket_calls& calls = current_sockets();
    const native_address at = native(at_);
    file_id found;
    if (calls.find_file(at, found) >= 0 && found == id_) calls.remove_file(at);  // F1
}
}
