// The main of every test program: doctest's, plus a watchdog, and the name of the test that crashed.
#define DOCTEST_CONFIG_IMPLEMENT
// doctest's handlers would replace the sanitizers' and take SIGINT and SIGTERM from tests about signals.
#define DOCTEST_CONFIG_NO_POSIX_SIGNALS
#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "watchdog.hpp"

namespace {

// Read by a signal handler, hence a plain array, and written only between tests.
char running[256];
const pid_t main_process = getpid();

void say_where() {
    if (getpid() != main_process || running[0] == '\0') return;  // a child that a test meant to die
    const char head[] = "\ncrashed in the test \"";
    [[maybe_unused]] ssize_t ignored = write(STDERR_FILENO, head, sizeof head - 1);
    ignored = write(STDERR_FILENO, running, std::strlen(running));
    ignored = write(STDERR_FILENO, "\"\n", 2);
}

void on_crash(int signal) {
    say_where();
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

struct listener : doctest::IReporter {
    explicit listener(const doctest::ContextOptions&) {}

    void test_case_start(const doctest::TestCaseData& test) override {
        std::strncpy(running, test.m_name, sizeof running - 1);
        support::watchdog::instance().begin(test.m_name);
    }
    void test_case_end(const doctest::CurrentTestCaseStats&) override {
        running[0] = '\0';
        support::watchdog::instance().end();
    }

    void report_query(const doctest::QueryData&) override {}
    void test_run_start() override {}
    void test_run_end(const doctest::TestRunStats&) override {}
    void test_case_reenter(const doctest::TestCaseData&) override {}
    void test_case_exception(const doctest::TestCaseException&) override {}
    void subcase_start(const doctest::SubcaseSignature&) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData&) override {}
    void log_message(const doctest::MessageData&) override {}
    void test_case_skipped(const doctest::TestCaseData&) override {}
};
REGISTER_LISTENER("runnel", 1, listener);
}

// Weak: null in a build without sanitizers.
extern "C" [[gnu::weak]] void __sanitizer_set_death_callback(void (*)());

int main(int argc, char** argv) {
    std::signal(SIGABRT, on_crash);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(say_where);
    } else {
        for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) std::signal(signal, on_crash);
    }
    return doctest::Context(argc, argv).run();
}
