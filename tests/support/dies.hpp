// dies: does a misuse end the program, and does the report say what a user needs?
//
//     CHECK(dies([&] { end.send(1); }, "used after it was moved from"));
//
// Runs the callable in a child process and reads its stderr. Only for callables that start no thread: the
// child of a program with threads has none of them.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace support {

/// True if `misuse` ended by abort() and printed `report` to stderr.
template <class F>
bool dies(F&& misuse, std::string_view report) {
    int ends[2];
    if (pipe(ends) != 0) return false;
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        misuse();
        _exit(0);
    }
    close(ends[1]);
    std::string printed;
    char part[512];
    for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;)
        printed.append(part, static_cast<std::size_t>(n));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    const bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    return aborted && printed.find(report) != std::string::npos;
}
}
