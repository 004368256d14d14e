// uninterrupted: a system call, made until no signal has interrupted it.
#pragma once

#include <cerrno>

namespace runnel::detail {

/// Its result, or -errno.
template <class Call>
long answer_of(Call call) noexcept {
    for (;;) {
        const long status = static_cast<long>(call());
        if (status >= 0) return status;
        if (errno != EINTR) return -errno;
    }
}
}
