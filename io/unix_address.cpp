// Unix addresses in the system's form; see runnel/unix_address.hpp.
#include <runnel/unix_address.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

namespace runnel {

namespace {
constexpr std::size_t name_at = offsetof(sockaddr_un, sun_path);
constexpr std::size_t name_max = sizeof(sockaddr_un::sun_path) - 1;  // a zero ends a path, or begins a name

std::error_code too_long() noexcept { return std::make_error_code(std::errc::filename_too_long); }
}

unix_address::unix_address() noexcept : used_(name_at) {
    static_assert(room == sizeof(sockaddr_un));
    const sa_family_t family = AF_UNIX;
    std::memcpy(bytes_, &family, sizeof family);
}

result<unix_address> unix_address::parse(std::string_view text) {
    if (text.starts_with('@')) return abstract(text.substr(1));
    if (text.size() > name_max) return too_long();
    if (text.find('\0') != text.npos) return std::make_error_code(std::errc::invalid_argument);
    unix_address made;
    if (text.empty()) return made;
    text.copy(reinterpret_cast<char*>(made.bytes_) + name_at, text.size());
    made.used_ = static_cast<std::uint8_t>(name_at + text.size() + 1);
    return made;
}

result<unix_address> unix_address::abstract(std::string_view name) {
    if (name.size() > name_max) return too_long();
    unix_address made;
    name.copy(reinterpret_cast<char*>(made.bytes_) + name_at + 1, name.size());
    made.used_ = static_cast<std::uint8_t>(name_at + 1 + name.size());
    return made;
}

bool unix_address::is_unnamed() const noexcept { return used_ == name_at; }
bool unix_address::is_abstract() const noexcept { return used_ > name_at && bytes_[name_at] == 0; }
bool unix_address::is_path() const noexcept { return used_ > name_at && bytes_[name_at] != 0; }

std::string_view unix_address::name() const noexcept {
    const char* text = reinterpret_cast<const char*>(bytes_) + name_at;
    if (is_abstract()) return {text + 1, used_ - name_at - 1};
    return {text, is_path() ? used_ - name_at - 1 : 0};
}

bool operator==(const unix_address& a, const unix_address& b) noexcept {
    return a.used_ == b.used_ && std::memcmp(a.bytes_, b.bytes_, a.used_) == 0;
}

/// A path of the system's may lack its zero, and may have more than one.
void unix_address::assign(const void* native, std::size_t bytes) noexcept {
    *this = unix_address();
    if (bytes <= name_at) return;
    std::memcpy(bytes_, native, std::min(bytes, room));
    used_ = static_cast<std::uint8_t>(std::min(bytes, room));
    if (bytes_[name_at] == 0) return;
    bytes_[room - 1] = 0;
    used_ =
        static_cast<std::uint8_t>(name_at + std::strlen(reinterpret_cast<const char*>(bytes_) + name_at) + 1);
}

std::string to_string(const unix_address& a) {
    const std::string_view name = a.name();
    if (a.is_abstract()) return '@' + std::string(name);
    return (name.starts_with('@') ? "./" : "") + std::string(name);
}
}
