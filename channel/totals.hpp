// totals: what goes through channels and broadcasts, for the metrics of a runtime.
#pragma once

#include <runnel/detail/worker_local.hpp>

namespace runnel::detail {

/// The worker that moves a value counts it, whoever sent it; plain threads count nothing.
inline void count(worker_total channel_totals::* what) noexcept {
    if (worker_local* const here = tls_worker; here != nullptr) [[likely]]
        (here->channels.*what).add();
}
}
