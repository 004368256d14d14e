// child: runs one test case of this program in a process of its own, to see how that one ends.
//
//     TEST_CASE("child: main throws" * doctest::skip()) { std::_Exit(rn::run(throws)); }
//     TEST_CASE("run: an exception that leaves main ends the program with a report") {
//         const child_end end = child("child: main throws").wait();
//         CHECK(end.killed_by(SIGABRT));
//         CHECK(end.said("ended by an exception"));
//     }
//
// Of a misuse that check() finds it says that in a line: CHECK(aborts_saying("child: …", "joined twice")).
//
// The program is executed again, not only forked: the child may start threads, under sanitizers too. The
// case is marked with skip(), so that it runs in the child alone. Its stdout and stderr are one text.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

namespace support {

struct child_end {
    int status = 0;
    std::string printed;

    bool exited(int with) const { return WIFEXITED(status) && WEXITSTATUS(status) == with; }
    bool killed_by(int signal) const { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }
    bool said(std::string_view text) const { return printed.find(text) != std::string::npos; }
    /// How often it said that.
    int times(std::string_view text) const {
        int count = 0;
        for (std::size_t at = 0; (at = printed.find(text, at)) != std::string::npos; ++at) ++count;
        return count;
    }
};

class child {
public:
    /// Starts it. `variable` is NAME=value for its environment.
    explicit child(const std::string& test, const std::string& variable = {}) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&files, ends[1], STDERR_FILENO);
        std::string path = "/proc/self/exe", unskip = "--no-skip", which = "--test-case=" + test;
        char* arguments[] = {path.data(), unskip.data(), which.data(), nullptr};
        const std::size_t equals = variable.find('=');
        if (!variable.empty()) setenv(variable.substr(0, equals).c_str(), &variable[equals + 1], 1);
        if (posix_spawn(&process_, path.c_str(), &files, nullptr, arguments, environ) != 0) std::abort();
        if (!variable.empty()) unsetenv(variable.substr(0, equals).c_str());
        posix_spawn_file_actions_destroy(&files);
        close(ends[1]);
        output_ = ends[0];
    }
    child(const child&) = delete;
    child& operator=(const child&) = delete;
    ~child() { wait(); }

    /// Sleeps until it has printed `text`. False: it ended without.
    bool wait_for(std::string_view text) {
        while (end_.printed.find(text) == std::string::npos)
            if (!read_more()) return false;
        return true;
    }
    void send(int signal) const { kill(process_, signal); }

    /// Sleeps until it has ended.
    const child_end& wait() {
        if (output_ < 0) return end_;
        while (read_more()) {}
        close(output_);
        output_ = -1;
        waitpid(process_, &end_.status, 0);
        return end_;
    }

private:
    bool read_more() {
        char part[512];
        const ssize_t got = read(output_, part, sizeof part);
        if (got > 0) end_.printed.append(part, static_cast<std::size_t>(got));
        return got > 0;
    }

    pid_t process_ = 0;
    int output_ = -1;
    child_end end_;
};

/// Does the test end by abort(), with that in its report?
inline bool aborts_saying(const std::string& test, std::string_view report) {
    child misuse(test);
    return misuse.wait().killed_by(SIGABRT) && misuse.wait().said(report);
}
}
