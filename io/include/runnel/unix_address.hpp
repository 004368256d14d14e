// unix_address: where a Unix socket is: a file, a name that only the kernel knows, or nowhere.
//
//   auto file = rn::unix_address::parse("/run/x.sock").value();   // or "./x.sock", relative to where we are
//   auto name = rn::unix_address::parse("@x").value();            // abstract: no file, gone with its socket
//   to_string(name) == "@x"
//
// A value in the form that the system's calls take, like address.hpp. A file whose name begins with @ is "./@x".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <runnel/result.hpp>

namespace runnel {

class unix_address {
public:
    /// Unnamed: what has connected without being bound has it, and either end of a pair. Bound to it, a socket gets
    /// an abstract name that the system chooses.
    unix_address() noexcept;

    /// A path; an abstract name after "@"; or, of no text, unnamed.
    /// Returns  std::errc::filename_too_long for a path or name of more than 107 bytes (the system's limit: a
    ///          shorter one can be given relative to the working directory); std::errc::invalid_argument for a path
    ///          with a zero byte in it.
    static result<unix_address> parse(std::string_view text);
    /// An abstract name of any bytes, zeros too. Returns  std::errc::filename_too_long.
    static result<unix_address> abstract(std::string_view name);

    bool is_unnamed() const noexcept;
    bool is_abstract() const noexcept;
    bool is_path() const noexcept;
    /// The path, or the abstract name without its "@". Good while the address lives.
    std::string_view name() const noexcept;

    friend bool operator==(const unix_address& a, const unix_address& b) noexcept;

    /// The sockaddr of the system; a path ends with a zero. `assign` is for what the system has written there.
    const void* native() const noexcept { return bytes_; }
    std::size_t native_bytes() const noexcept { return used_; }
    void assign(const void* native, std::size_t bytes) noexcept;

private:
    static constexpr std::size_t room = 110;  // a sockaddr_un
    alignas(4) unsigned char bytes_[room] = {};
    std::uint8_t used_;
};

/// "/run/x.sock", "@x" or "": what parse() reads.
std::string to_string(const unix_address& a);
}
