// io_figures: what operations have moved and made, counted for metrics.hpp where their answer is taken.
//
//   outcome()            an awaited operation: its bytes, its error, its connection
//   note_received(n)     a case of a select, or datagrams: plain calls that are no operation of their own
//
// The count is that of the worker on which the task goes on, which alone writes it: a load and a store, nothing shared.
// Not taken: counts of the driver, where completions arrive: a helper would count in another worker's place, and most
// bytes go by plain calls, past it.
#pragma once

#include <cstddef>

#include <runnel/detail/io_action.hpp>
#include <runnel/detail/worker_local.hpp>

namespace runnel::detail {

// A plain thread, which may try a select, is nobody's worker.
inline void note_received(std::size_t bytes) noexcept {
    if (tls_worker != nullptr) tls_worker->moved.received.add(bytes);
}
inline void note_sent(std::size_t bytes) noexcept {
    if (tls_worker != nullptr) tls_worker->moved.sent.add(bytes);
}
inline void note_accepted() noexcept {
    if (tls_worker != nullptr) tls_worker->moved.accepted.add();
}

/// Of an operation that is over. Datagrams count themselves: `moved` is their number.
void note_figures(const io_action& done, bool counts_itself) noexcept;
}
