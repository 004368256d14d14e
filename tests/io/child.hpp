// child: runs one test of this program in a process of its own, for tests that change or end the process.
//
//     TEST_CASE("child: closes its eyes" * doctest::skip()) { ... }
//     TEST_CASE("...") { CHECK(test::run_child("child: closes its eyes").status == 0); }
//
// A new program, not a fork: the sanitizers do not like threads after a fork.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace test {

struct child_end {
    int status;         // of the exit, or 128 + the signal
    std::string words;  // what it said on stdout and stderr
};

inline child_end run_child(const std::string& name) {
    std::FILE* said = std::tmpfile();
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, fileno(said), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, fileno(said), STDERR_FILENO);
    std::string filter = "-tc=" + name;
    char self[] = "/proc/self/exe";
    char no_skip[] = "--no-skip";
    char* arguments[] = {self, no_skip, filter.data(), nullptr};
    pid_t child = 0;
    int status = -1;
    if (posix_spawn(&child, self, &files, nullptr, arguments, environ) == 0) waitpid(child, &status, 0);
    posix_spawn_file_actions_destroy(&files);

    child_end end{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), {}};
    std::rewind(said);
    for (int c; (c = std::fgetc(said)) != EOF;) end.words += static_cast<char>(c);
    std::fclose(said);
    return end;
}

inline bool contains(const std::string& text, const char* part) { return text.find(part) != text.npos; }
}
