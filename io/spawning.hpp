// spawning: one start of a command.
//
//   1  open what is needed: pipes, /dev/null, and a copy of each descriptor that is passed, with a number above all
//      that the child is to have: so nothing is overwritten before it was copied;
//   2  in the child (posix_spawn, which shares our memory until it begins its program): copies get their numbers, the
//      rest is closed, the directory is changed, signals are as in a new program;
//   3  the descriptor of the process. Between 2 and 3 somebody who reaps all children may have taken its status, and
//      the number may be another's: a process that is not our child is not ours (R5 of process.hpp).
//
// Everything that is opened here is closed on exec from the beginning: a child that another thread starts meanwhile has
// none of it. Our ends of pipes do not block; that is their own flag, not the child's.
#pragma once

#include <spawn.h>

#include <string>
#include <vector>

#include <runnel/process.hpp>

namespace runnel {

class spawning {
public:
    explicit spawning(const command& what) noexcept : what_(what) {}
    ~spawning();
    spawning(const spawning&) = delete;
    spawning& operator=(const spawning&) = delete;

    result<process> start(std::source_location at);

private:
    int open_streams() noexcept;
    int open_stream(int number) noexcept;
    int copy_for(int fd, int as) noexcept;
    int highest() const noexcept;
    void add_actions();
    void close_the_rest();
    void set_attributes() noexcept;
    std::vector<std::string> environment() const;
    int spawn(int& pid);
    result<process> adopt(int pid, std::source_location at);

    struct passed {
        int fd;  // ours, to be closed
        int as;
    };
    const command& what_;
    std::vector<passed> passed_;
    int ours_[3] = {-1, -1, -1};
    posix_spawn_file_actions_t actions_;
    posix_spawnattr_t attributes_;
    bool made_ = false;
};
}
