// passing: descriptors that go through a Unix socket with bytes (SCM_RIGHTS); the operations of unix_stream.
//
// The system sends them as control data of a message. A receiver gives room for as many as it wants: what comes
// beyond is closed by the system, which says so. What comes within is open as soon as the message is taken, whether
// anybody looks at it or not, so
//   P1  the room for what owns them is made before the message is asked for, and each is owned before anything else;
//   P2  they are closed on exec from the beginning.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <runnel/result.hpp>

#include "detail/descriptor.hpp"
#include "detail/io_operation.hpp"
#include "detail/pieces.hpp"
#include "detail/readiness.hpp"
#include "owned_descriptor.hpp"
#include "transfer.hpp"

namespace runnel {

/// What came, and the descriptors that came with it.
class received_descriptors {
public:
    std::size_t bytes = 0;
    std::vector<owned_descriptor> descriptors;
    bool truncated = false;  // there were more, which are closed
};

namespace detail {
/// Control data for some descriptors, allocated; with none when there is no memory for it.
class control_data {
public:
    static constexpr std::size_t most = 253;  // the system's SCM_MAX_FD

    control_data() noexcept = default;
    control_data(control_data&& other) noexcept;
    control_data& operator=(control_data&&) = delete;
    ~control_data();

    /// False: no memory.
    bool make_room(std::size_t descriptors) noexcept;
    void put(std::span<const int> descriptors) noexcept;
    void* data() noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};
}

class [[nodiscard]] pass_operation final : public detail::io_operation_of<pass_operation> {
public:
    using result_type = transfer;
    pass_operation(detail::descriptor& on, std::span<const std::byte> bytes,
                   std::span<const int> descriptors) noexcept;
    void prepare() noexcept;
    result_type complete(transfer done) noexcept;

private:
    detail::pieces bytes_;
    detail::control_data control_;
    std::error_code wrong_;
};

class [[nodiscard]] take_operation final : public detail::io_operation_of<take_operation> {
public:
    using result_type = result<received_descriptors>;
    take_operation(detail::descriptor& on, bool& drained, std::span<std::byte> to, std::size_t most) noexcept;
    take_operation(take_operation&&) noexcept = default;
    void prepare() noexcept;
    result_type complete(transfer done) noexcept;

    // What a case asks: detail/readiness.hpp.
    static constexpr bool counts_itself = false, by_many = false;
    detail::descriptor& where() const noexcept { return *on_; }
    take_operation anew() const noexcept { return {*on_, drained_, to_, most_}; }
    long take(detail::socket_calls& calls, int fd) noexcept;
    detail::whole_case<take_operation> as_case() && noexcept {
        return detail::whole_case<take_operation>(std::move(*this));
    }

private:
    void own_what_came() noexcept;

    bool& drained_;
    std::span<std::byte> to_;
    std::size_t most_;
    detail::control_data control_;
    received_descriptors got_;
    std::error_code wrong_;
    alignas(8) std::byte message_[56];  // a msghdr
    alignas(8) std::byte place_[16];    // an iovec
};
}
