// Setting a ring up, with what to do when it is refused, and the two ends of its queues; see ring.hpp.
#include "ring.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

namespace runnel::detail {

namespace {

/// From the best that we know to what every kernel since 5.13 has.
constexpr unsigned flags_by_preference[] = {
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,  // 5.19
    IORING_SETUP_SUBMIT_ALL,                                                          // 5.18
    0,
};

// The kernel adds the time of now to a timeout; this is 30 years.
constexpr std::int64_t forever = 1'000'000'000'000'000'000;

const char* advice_for(int error) noexcept {
    switch (error) {
        case EPERM:
        case EACCES:
            return "io_uring is forbidden here: by the container's seccomp profile (allow io_uring_setup, "
                   "io_uring_enter and io_uring_register), or by the sysctl kernel.io_uring_disabled";
        case ENOSYS:
            return "this kernel has no io_uring: Linux 5.13 or newer is needed";
        case EINVAL:
            return "this kernel's io_uring is too old: Linux 5.13 or newer is needed";
        case ENOMEM:
            return "not enough memory that may be locked: raise RLIMIT_MEMLOCK (ulimit -l)";
        case EMFILE:
            return "this process has too many open files: raise RLIMIT_NOFILE (ulimit -n)";
        case ENFILE:
            return "the system has too many open files: raise the sysctl fs.file-max";
        default:
            return "is io_uring usable on this machine?";
    }
}

[[noreturn]] void refuse(const char* call, int error) {
    throw std::system_error(error, std::system_category(), std::string(call) + ": " + advice_for(error));
}

io_uring_params params_for(const ring_options& options, unsigned flags) noexcept {
    io_uring_params params{};
    params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = options.cq_entries;
    return params;
}

/// Sets the ring up with the first flags that this kernel takes. Returns 0 or -errno.
int set_up(io_uring& ring, const ring_options& options) noexcept {
    int status = -EINVAL;
    for (const unsigned flags : flags_by_preference) {
        if ((flags & options.flags_withheld) != 0) continue;
        io_uring_params params = params_for(options, flags);
        status = io_uring_queue_init_params(options.sq_entries, &ring, &params);
        if (status != -EINVAL) break;
    }
    return status;
}

template <class T>
std::atomic_ref<T> shared(T* word) noexcept {
    return std::atomic_ref<T>(*word);
}
}

int system_enter(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, void* argument,
                 std::size_t argument_bytes) noexcept {
    return io_uring_enter2(fd, to_submit, min_complete, flags, static_cast<sigset_t*>(argument),
                           argument_bytes);
}

ring_options& usual_ring_options() noexcept {
    static ring_options usual;
    return usual;
}

ring::ring(const ring_options& options) : enter_(options.enter) {
    if (const int status = set_up(ring_, options); status < 0) refuse("io_uring_setup", -status);
    if (!has_feature(IORING_FEAT_RSRC_TAGS)) {  // came with 5.13, as the multishot poll did
        io_uring_queue_exit(&ring_);
        refuse("io_uring_setup", EINVAL);
    }
    // A child that touched these queues would take requests and completions away from its parent.
    if (const int status = io_uring_ring_dontfork(&ring_); status < 0) {
        io_uring_queue_exit(&ring_);
        refuse("madvise(MADV_DONTFORK)", -status);
    }
    // That it can be set up does not say that it may be used.
    if (const int status = system_enter(static_cast<unsigned>(ring_.ring_fd), 0, 0, 0, nullptr, 0);
        status < 0) {
        io_uring_queue_exit(&ring_);
        refuse("io_uring_enter", -status);
    }
    for (unsigned i = 0; i < ring_.sq.ring_entries; ++i) ring_.sq.array[i] = i;
    ask_what_it_supports(options.operations_known);
    unsigned workers[2] = {options.file_workers, 0};      // 0: as it is
    io_uring_register_iowq_max_workers(&ring_, workers);  // a wish: kernels before 5.15 have their own number
}

/// Where it may not be asked, it supports what needs no asking: nothing of files.
void ring::ask_what_it_supports(unsigned operations_known) noexcept {
    io_uring_probe* const probe = io_uring_get_probe_ring(&ring_);
    if (probe == nullptr) return;
    for (unsigned i = 0; i < probe->ops_len && i < operations_known; ++i)
        if ((probe->ops[i].flags & IO_URING_OP_SUPPORTED) != 0) supported_.set(probe->ops[i].op);
    io_uring_free_probe(probe);
}

ring::~ring() { io_uring_queue_exit(&ring_); }

bool ring::provide(io_uring_buf_ring& buffers, unsigned count) noexcept {
    io_uring_buf_reg what{};
    what.ring_addr = reinterpret_cast<std::uint64_t>(&buffers);
    what.ring_entries = count;
    return io_uring_register_buf_ring(&ring_, &what, 0) == 0;
}

io_uring_sqe* ring::next() noexcept {
    // acquire: pairs with the kernel's release of the head; it has read the request that stood here.
    const unsigned head = shared(ring_.sq.khead).load(std::memory_order_acquire);
    if (ring_.sq.sqe_tail - head >= ring_.sq.ring_entries) return nullptr;
    io_uring_sqe* request = &ring_.sq.sqes[ring_.sq.sqe_tail & ring_.sq.ring_mask];
    std::memset(request, 0, sizeof *request);
    return request;
}

void ring::publish() noexcept {
    // release: pairs with the kernel's acquire of the tail, on whatever thread enters.
    shared(ring_.sq.ktail).store(++ring_.sq.sqe_tail, std::memory_order_release);
}

unsigned ring::unsubmitted() const noexcept {
    // The head first: both only grow, so the difference is never negative. acquire: keeps that order.
    const unsigned head = shared(ring_.sq.khead).load(std::memory_order_acquire);
    // relaxed: a count; the kernel reads the tail itself.
    return shared(ring_.sq.ktail).load(std::memory_order_relaxed) - head;
}

bool ring::has_completions() const noexcept {
    // relaxed: a hint; front() synchronises.
    return shared(ring_.cq.khead).load(std::memory_order_relaxed) !=
           shared(ring_.cq.ktail).load(std::memory_order_relaxed);
}

unsigned ring::flags() const noexcept {
    // relaxed: a hint; what it announces is fetched by a system call.
    return shared(ring_.sq.kflags).load(std::memory_order_relaxed);
}

int ring::submit() noexcept {
    return enter_(static_cast<unsigned>(ring_.ring_fd), unsubmitted(), 0, 0, nullptr, 0);
}

int ring::submit_and_collect() noexcept {
    return enter_(static_cast<unsigned>(ring_.ring_fd), unsubmitted(), 0, IORING_ENTER_GETEVENTS, nullptr, 0);
}

int ring::submit_and_wait(std::int64_t timeout_ns) noexcept {
    return enter_and_wait(unsubmitted(), timeout_ns);
}

int ring::wait(std::int64_t timeout_ns) noexcept { return enter_and_wait(0, timeout_ns); }

int ring::enter_and_wait(unsigned to_submit, std::int64_t timeout_ns) noexcept {
    constexpr std::int64_t second = 1'000'000'000;
    __kernel_timespec limit{timeout_ns / second, timeout_ns % second};
    io_uring_getevents_arg argument{};
    if (timeout_ns < forever) argument.ts = reinterpret_cast<std::uint64_t>(&limit);
    return enter_(static_cast<unsigned>(ring_.ring_fd), to_submit, 1,
                  IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof argument);
}

const io_uring_cqe* ring::front() const noexcept {
    // relaxed: only we move the head (R1). acquire: pairs with the kernel's release of the tail.
    const unsigned head = shared(ring_.cq.khead).load(std::memory_order_relaxed);
    if (head == shared(ring_.cq.ktail).load(std::memory_order_acquire)) return nullptr;
    return &ring_.cq.cqes[head & ring_.cq.ring_mask];
}

void ring::pop() noexcept {
    const unsigned head = *ring_.cq.khead;
    // release: pairs with the kernel's acquire; we have read the completion that it may overwrite.
    shared(ring_.cq.khead).store(head + 1, std::memory_order_release);
}
}
