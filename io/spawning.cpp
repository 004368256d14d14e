// See spawning.hpp, whose steps are named here.
#include "spawning.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "call_socket.hpp"
#include "child_state.hpp"
#include "reaper.hpp"

namespace runnel {

namespace {
std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> all;
    for (std::string& each : texts) all.push_back(each.data());
    all.push_back(nullptr);
    return all;
}

/// pidfd_open by its number: glibc has it since 2.36 only.
int open_pidfd(int pid) noexcept {
    constexpr long number = 434;
    const long fd = syscall(number, pid, 0U);
    return fd < 0 ? -errno : static_cast<int>(fd);
}
}

spawning::~spawning() {
    for (const passed& each : passed_) ::close(each.fd);
    for (const int each : ours_)
        if (each >= 0) ::close(each);
    if (!made_) return;
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
}

result<process> spawning::start(std::source_location at) {
    if (const int status = open_streams(); status < 0) return detail::system_error(status);
    int pid = 0;
    if (const int status = spawn(pid); status < 0) return detail::system_error(status);
    return adopt(pid, at);
}

// --- 1: what is opened -----------------------------------------------------------------------------

int spawning::highest() const noexcept {
    int number = 2;
    for (const auto& [fd, as] : what_.passed_) number = std::max(number, as);
    return number;
}

int spawning::copy_for(int fd, int as) noexcept {
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, highest() + 1);
    if (copy < 0) return -errno;
    passed_.push_back({copy, as});
    return 0;
}

int spawning::open_stream(int number) noexcept {
    const stdio& is = what_.streams_[number];
    int ends[2] = {-1, -1};
    switch (is.is()) {
        case stdio::kind::descriptor:
            return copy_for(is.fd(), number);
        case stdio::kind::null:
            ends[0] = ::open("/dev/null", (number == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
            if (ends[0] < 0) return -errno;
            break;
        case stdio::kind::pipe:
            if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
            if (number != 0) std::swap(ends[0], ends[1]);
            ours_[number] = ends[1];
            fcntl(ends[1], F_SETFL, O_NONBLOCK);
            break;
        case stdio::kind::inherit:
        case stdio::kind::merged:
            return 0;
    }
    const int status = copy_for(ends[0], number);
    ::close(ends[0]);
    return status;
}

int spawning::open_streams() noexcept {
    for (int number = 0; number < 3; ++number)
        if (const int status = open_stream(number); status < 0) return status;
    for (const auto& [fd, as] : what_.passed_)
        if (const int status = copy_for(fd, as); status < 0) return status;
    return 0;
}

// --- 2: the child ----------------------------------------------------------------------------------

void spawning::add_actions() {
    for (const passed& each : passed_) posix_spawn_file_actions_adddup2(&actions_, each.fd, each.as);
    if (what_.streams_[2].is() == stdio::kind::merged) posix_spawn_file_actions_adddup2(&actions_, 1, 2);
    close_the_rest();
    if (!what_.directory_.empty()) posix_spawn_file_actions_addchdir_np(&actions_, what_.directory_.c_str());
}

/// R1 of process.hpp: also what was not marked to be closed on exec.
void spawning::close_the_rest() {
    const int last = highest();
    for (int number = 3; number <= last; ++number) {
        const auto named = [&](const passed& each) { return each.as == number; };
        if (std::none_of(passed_.begin(), passed_.end(), named))
            posix_spawn_file_actions_addclose(&actions_, number);
    }
    posix_spawn_file_actions_addclosefrom_np(&actions_, last + 1);
}

void spawning::set_attributes() noexcept {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
    const int group = what_.own_group_ ? POSIX_SPAWN_SETPGROUP : 0;
    posix_spawnattr_setflags(&attributes_,
                             static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | group));
}

std::vector<std::string> spawning::environment() const {
    std::vector<std::string> all;
    const auto changed = [&](std::string_view entry) {
        const std::string_view name = entry.substr(0, entry.find('='));
        return std::any_of(what_.changes_.begin(), what_.changes_.end(),
                           [&](const auto& each) { return each.name == name; });
    };
    for (char** entry = environ; !what_.clears_ && entry != nullptr && *entry != nullptr; ++entry)
        if (!changed(*entry)) all.emplace_back(*entry);
    for (const auto& each : what_.changes_)
        if (each.is_set) all.push_back(each.name + "=" + each.value);
    return all;
}

int spawning::spawn(int& pid) {
    std::vector<std::string> arguments{what_.program_};
    arguments.insert(arguments.end(), what_.args_.begin(), what_.args_.end());
    std::vector<std::string> variables = environment();
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    made_ = true;
    add_actions();
    set_attributes();
    return -posix_spawnp(&pid, what_.program_.c_str(), &actions_, &attributes_, pointers(arguments).data(),
                         pointers(variables).data());
}

// --- 3: ours ---------------------------------------------------------------------------------------

result<process> spawning::adopt(int pid, std::source_location at) {
    const int pidfd = open_pidfd(pid);
    if (pidfd < 0 && pidfd != -ESRCH) {  // no descriptor for it: it must not run without us
        ::kill(pid, SIGKILL);
        siginfo_t info{};
        waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED);
        return detail::system_error(pidfd);
    }
    process made(new detail::child_state(pidfd, pid, what_.own_group_, at));
    const auto take = [this](int number) { return std::exchange(ours_[number], -1); };
    if (ours_[0] >= 0) made.input_ = pipe_writer::own(take(0), at);
    if (ours_[1] >= 0) made.output_ = pipe_reader::own(take(1), at);
    if (ours_[2] >= 0) made.error_ = pipe_reader::own(take(2), at);
    return made;
}
}
