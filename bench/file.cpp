// What does a file cost that lies in memory already, against a loop of plain calls in the same program?
//
// copy: 256 MiB from one file to another, in pieces of 256 KiB (`copy_by_pieces`), and by copy(), which takes 16 KiB
// at a time (`copy_by_stream`); one operation is one MiB. random: 4 KiB at random places of a file of 256 MiB, by 1
// task and by 64. *_plain: the same by pread and pwrite on the worker itself, which a program with other work could
// not do.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include <runnel/copy.hpp>
#include <runnel/file.hpp>
#include <runnel/file_paths.hpp>
#include <runnel/scope.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

constexpr std::size_t mib = 1 << 20, piece = 256 * 1024, block = 4096;
constexpr std::uint64_t file_bytes = 256 * mib;

/// Two files, of which one is full; gone with the program.
class files {
public:
    files() {
        if (mkdtemp(folder_.data()) == nullptr) std::abort();
        const int fd = ::open(from().c_str(), O_WRONLY | O_CREAT, 0600);
        const std::string some(mib, 'x');
        for (std::uint64_t at = 0; at < file_bytes; at += mib)
            if (pwrite(fd, some.data(), mib, static_cast<off_t>(at)) != static_cast<ssize_t>(mib))
                std::abort();
        ::close(fd);
    }
    ~files() {
        unlink(from().c_str());
        unlink(to().c_str());
        rmdir(folder_.c_str());
    }
    std::string from() const { return folder_ + "/from"; }
    std::string to() const { return folder_ + "/to"; }

private:
    std::string folder_ = "/tmp/runnel-bench-XXXXXX";
};

const files& both() {
    static const files made;
    return made;
}

rn::open_options to_write() { return rn::open_options().write().create(); }

rn::task<> copy_files(std::int64_t count) {
    auto from = (co_await rn::file::open(both().from())).value();
    auto to = (co_await rn::file::open(both().to(), to_write())).value();
    std::vector<std::byte> buffer(piece);
    for (std::uint64_t at = 0; at < static_cast<std::uint64_t>(count) * mib; at += piece) {
        if (!co_await from.read_at(buffer, at % file_bytes)) std::abort();
        if (!co_await to.write_at(buffer, at % file_bytes)) std::abort();
    }
}

rn::task<> copy_stream(std::int64_t count) {
    auto from = (co_await rn::file::open(both().from())).value();
    auto to = (co_await rn::file::open(both().to(), to_write())).value();
    for (std::uint64_t bytes = 0; bytes < static_cast<std::uint64_t>(count) * mib;) {
        from.seek(0);
        to.seek(0);
        const rn::transfer copied = co_await rn::copy(from, to);
        if (!copied) std::abort();
        bytes += copied.bytes;
    }
}

rn::task<> plain_copy(std::int64_t count) {
    const int from = ::open(both().from().c_str(), O_RDONLY),
              to = ::open(both().to().c_str(), O_WRONLY | O_CREAT, 0600);
    std::vector<std::byte> buffer(piece);
    for (std::uint64_t at = 0; at < static_cast<std::uint64_t>(count) * mib; at += piece) {
        const auto place = static_cast<off_t>(at % file_bytes);
        if (pread(from, buffer.data(), piece, place) < 0 || pwrite(to, buffer.data(), piece, place) < 0)
            std::abort();
    }
    ::close(from);
    ::close(to);
    co_return;
}

std::uint64_t next_place(std::uint64_t& seed) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (seed >> 33) % (file_bytes / block) * block;
}

rn::task<> read_some(rn::file& from, std::int64_t count, std::uint64_t seed) {
    std::vector<std::byte> buffer(block);
    for (std::int64_t i = 0; i < count; ++i)
        if (!co_await from.read_at(buffer, next_place(seed))) std::abort();
}

rn::task<> random_by(std::int64_t count, std::int64_t tasks) {
    auto from = (co_await rn::file::open(both().from())).value();
    rn::task_set all;
    for (std::int64_t i = 0; i < tasks; ++i)
        all.spawn(read_some, rn::borrow(from), count / tasks, static_cast<std::uint64_t>(i));
    co_await all.join();
}
rn::task<> random_1(std::int64_t count) { return random_by(count, 1); }
rn::task<> random_64(std::int64_t count) { return random_by(count, 64); }

rn::task<> plain_random(std::int64_t count) {
    const int from = ::open(both().from().c_str(), O_RDONLY);
    std::vector<std::byte> buffer(block);
    std::uint64_t seed = 0;
    for (std::int64_t i = 0; i < count; ++i)
        if (pread(from, buffer.data(), block, static_cast<off_t>(next_place(seed))) < 0) std::abort();
    ::close(from);
    co_return;
}

constexpr auto any = rn::driver_kind::automatic;  // RUNNEL_DRIVER=uring|epoll chooses
void copy_by_pieces(benchmark::State& state) { measure::batches(state, any, copy_files, 256); }
void copy_by_stream(benchmark::State& state) { measure::batches(state, any, copy_stream, 256); }
void copy_plain(benchmark::State& state) { measure::batches(state, any, plain_copy, 256); }
void random_by_1(benchmark::State& state) { measure::batches(state, any, random_1, 20'000); }
void random_by_64(benchmark::State& state) { measure::batches(state, any, random_64, 64'000); }
void random_plain(benchmark::State& state) { measure::batches(state, any, plain_random, 64'000); }
BENCHMARK(copy_by_pieces)->Apply(measure::with_1_and_2_workers);
BENCHMARK(copy_by_stream)->Apply(measure::with_1_and_2_workers);
BENCHMARK(copy_plain)->Apply(measure::with_1_and_2_workers);
BENCHMARK(random_by_1)->Apply(measure::with_1_and_2_workers);
BENCHMARK(random_by_64)->Apply(measure::with_1_and_2_workers);
BENCHMARK(random_plain)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
