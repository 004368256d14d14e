// See metrics.hpp.
#include <runnel/metrics.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include "frames.hpp"
#include "runtime_core.hpp"

namespace runnel {

namespace {

/// Every number of a worker, in the order of the page.
struct row {
    const char* name;
    const char* type;
    const char* help;
    std::uint64_t worker_metrics::* member;
};
constexpr const char* counter = "counter";
constexpr const char* gauge = "gauge";
constexpr row rows[] = {
    {"cancelled_waits_total", counter, "Waits ended by a cancel or a deadline.", &worker_metrics::cancelled},
    {"channel_direct_total", counter, "Values that went from a sender straight to a receiver.",
     &worker_metrics::direct},
    {"channel_received_total", counter, "Values that went out of a channel.", &worker_metrics::received},
    {"channel_sent_total", counter, "Values that went into a channel.", &worker_metrics::sent},
    {"channels_closed_total", counter, "Channels closed here.", &worker_metrics::channels_closed},
    {"connections_accepted_total", counter, "Connections accepted.", &worker_metrics::accepted},
    {"connections_failed_total", counter, "Attempts to connect that failed or were given up.",
     &worker_metrics::not_connected},
    {"connections_made_total", counter, "Connections made to somebody.", &worker_metrics::connected},
    {"fork_branches", gauge, "Branches of when_all that wait in the worker's deque.", &worker_metrics::forks},
    {"io_completed_total", counter, "Kernel operations that have completed.", &worker_metrics::completed},
    {"io_enters_total", counter, "System calls that submit or wait.", &worker_metrics::enters},
    {"io_errors_total", counter, "Operations that the system answered with an error.",
     &worker_metrics::io_errors},
    {"io_helped_total", counter, "Completions reaped for a busy worker.", &worker_metrics::helped},
    {"io_in_kernel", gauge, "Operations that the kernel has.", &worker_metrics::in_kernel},
    {"io_overflows_total", counter, "Overflows of the completion queue.", &worker_metrics::overflows},
    {"io_received_bytes_total", counter, "Bytes that came through sockets and pipes.",
     &worker_metrics::bytes_received},
    {"io_sent_bytes_total", counter, "Bytes that went into sockets and pipes.", &worker_metrics::bytes_sent},
    {"io_submitted_total", counter, "Operations given to the kernel.", &worker_metrics::submitted},
    {"next_hits_total", counter, "Turns of the task made ready last.", &worker_metrics::next_hits},
    {"parks_spurious_total", counter, "Sleeps after which there was nothing to do.",
     &worker_metrics::spurious},
    {"parks_total", counter, "Sleeps of the worker.", &worker_metrics::parks},
    {"polls_total", counter, "Turns of tasks.", &worker_metrics::polls},
    {"ready_tasks", gauge, "Tasks in the worker's queue.", &worker_metrics::ready},
    {"steal_tries_total", counter, "Looks at another worker's queues.", &worker_metrics::steal_tries},
    {"steals_total", counter, "Looks that found something.", &worker_metrics::steals},
    {"tasks_ended_total", counter, "Tasks ended here.", &worker_metrics::ended},
    {"tasks_started_total", counter, "Tasks started here.", &worker_metrics::started},
    {"ticks_total", counter, "Ticks of the worker's loop.", &worker_metrics::ticks},
    {"timers", gauge, "Deadlines that wait.", &worker_metrics::timers},
    {"wakes_sent_total", counter, "Sleeping workers woken.", &worker_metrics::wakes_sent},
};

worker_metrics metrics_of(detail::worker& from) {
    const detail::worker_counts& counts = from.counts;
    const detail::driver_counts io = from.io_counts();
    worker_metrics of;
    of.started = counts.started.get();
    of.ended = counts.ended.get();
    of.polls = counts.polls.get();
    of.next_hits = counts.next_hits.get();
    of.steal_tries = counts.steal_tries.get();
    of.steals = counts.steals.get();
    of.parks = counts.parks.get();
    of.spurious = counts.spurious.get();
    of.wakes_sent = counts.wakes_sent.get();
    of.ticks = counts.ticks.get();
    of.cancelled = counts.cancelled.get();
    of.direct = from.channels.direct.get();
    of.sent = of.direct + from.channels.put.get();
    of.received = of.direct + from.channels.taken.get();
    of.channels_closed = from.channels.closed.get();
    of.bytes_received = from.moved.received.get();
    of.bytes_sent = from.moved.sent.get();
    of.accepted = from.moved.accepted.get();
    of.connected = from.moved.connected.get();
    of.not_connected = from.moved.not_connected.get();
    of.io_errors = from.moved.errors.get();
    of.submitted = io.submitted;
    of.completed = io.completed;
    of.enters = io.enters;
    of.helped = io.helped;
    of.overflows = io.overflows;
    of.ready = from.ready.size();
    of.forks = from.forks.size();
    of.timers = from.timers.size();
    of.in_kernel = io.submitted - io.completed;
    return of;
}

void add(latency_histogram& sum, const detail::latency_counts& of) {
    for (std::size_t i = 0; i < latency_histogram::bucket_count; ++i) {
        const std::uint64_t count = of.buckets[i].get();
        sum.buckets[i] += count;
        sum.samples += count;
    }
    sum.sum_ns += of.sum_ns.get();
}
}

worker_metrics& worker_metrics::operator+=(const worker_metrics& other) noexcept {
    for (const row& each : rows) this->*each.member += other.*each.member;
    return *this;
}

std::uint64_t latency_histogram::quantile(double share) const noexcept {
    if (samples == 0) return 0;
    const auto wanted = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(samples)));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < bucket_count; ++i)
        if ((seen += buckets[i]) >= wanted) return std::uint64_t{1000} << i;
    return std::uint64_t{1000} << (bucket_count - 1);
}

static runtime_metrics take(const detail::runtime_core& core) {
    runtime_metrics all;
    all.name = core.settings.name();
    all.driver = core.drivers->name();
    for (const auto& each : core.workers) {
        all.workers.push_back(metrics_of(*each));
        all.total += all.workers.back();
        add(all.latency, each->latency);
    }
    all.live = static_cast<std::uint64_t>(std::max<std::int64_t>(core.live(), 0));
    all.injected = core.queue.size();
    const detail::blocking_counts blocking = core.blocking.counts();
    all.blocking_calls = blocking.calls;
    all.blocking_threads = blocking.threads;
    all.blocking_queued = blocking.queued;
    all.frame_bytes_kept = detail::count_frames().bytes_kept;
    return all;
}

runtime_metrics current_metrics() { return take(detail::current_runtime()); }
runtime_metrics runtime::metrics() const { return take(*core_); }

// --- Prometheus ------------------------------------------------------------------------------------

namespace {

/// A name in a label's value: backslash, quote and newline are escaped.
std::string escaped(const std::string& text) {
    std::string safe;
    for (const char c : text) {
        if (c == '\\' || c == '"') safe += '\\';
        safe += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    return safe;
}

class page {
public:
    explicit page(const runtime_metrics& of) : of_(of), runtime_("runtime=\"" + escaped(of.name) + "\"") {}

    void family(const char* name, const char* type, const char* help) {
        name_ = std::string("runnel_") + name;
        text_ += "# HELP " + name_ + " " + help + "\n# TYPE " + name_ + " " + type + "\n";
    }
    void of_each_worker(const char* name, const char* type, const char* help,
                        std::uint64_t worker_metrics::* member) {
        family(name, type, help);
        for (std::size_t i = 0; i < of_.workers.size(); ++i)
            line("", ",worker=\"" + std::to_string(i) + "\"", of_.workers[i].*member);
    }
    void single(const char* name, const char* type, const char* help, std::uint64_t value) {
        family(name, type, help);
        line("", "", value);
    }
    void line(const char* suffix, const std::string& labels, std::uint64_t value) {
        text_ += name_ + suffix + "{" + runtime_ + labels + "} " + std::to_string(value) + "\n";
    }
    void latency() {
        family("ready_latency_microseconds", "histogram", "From ready to running, of sampled tasks.");
        std::uint64_t below = 0;
        for (std::size_t i = 0; i + 1 < latency_histogram::bucket_count; ++i) {
            below += of_.latency.buckets[i];
            line("_bucket", ",le=\"" + std::to_string(std::uint64_t{1} << i) + "\"", below);
        }
        line("_bucket", ",le=\"+Inf\"", of_.latency.samples);
        line("_sum", "", of_.latency.sum_ns / 1000);
        line("_count", "", of_.latency.samples);
    }
    std::string text() && { return std::move(text_); }

private:
    const runtime_metrics& of_;
    const std::string runtime_;
    std::string name_, text_;
};

}

std::string to_prometheus(const runtime_metrics& of) {
    page all(of);
    all.single("blocking_calls_total", counter, "Calls of blocking() that have begun.", of.blocking_calls);
    all.single("blocking_queued", gauge, "Calls of blocking() that wait for a thread.", of.blocking_queued);
    all.single("blocking_threads", gauge, "Threads for blocking().", of.blocking_threads);
    all.single("frame_bytes_kept", gauge, "Free frames in the depot of the process.", of.frame_bytes_kept);
    all.single("injected_tasks", gauge, "Tasks in the queue that all workers share.", of.injected);
    all.latency();
    all.single("tasks_live", gauge, "Tasks that have not ended.", of.live);
    for (const row& each : rows) all.of_each_worker(each.name, each.type, each.help, each.member);
    return std::move(all).text();
}
}
