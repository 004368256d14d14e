// cpu_budget on made-up machines: folders with the files that the kernel would show.
#include "runtime/cpu_budget.hpp"

#include <doctest/doctest.h>
#include <sched.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

using runnel::detail::allowed_cpus;
using runnel::detail::cpu_quota;
using runnel::detail::usable_cpus;

namespace {

/// A root directory of its own, gone with the object.
class machine {
public:
    machine() {
        char name[] = "/tmp/runnel-machine-XXXXXX";
        root_ = mkdtemp(name);
    }
    machine(const machine&) = delete;
    machine& operator=(const machine&) = delete;
    ~machine() { std::filesystem::remove_all(root_); }

    machine& file(const std::string& path, const std::string& text) {
        const std::filesystem::path whole = root_ + path;
        std::filesystem::create_directories(whole.parent_path());
        std::ofstream(whole) << text;
        return *this;
    }
    machine& cgroups(const std::string& lines) { return file("/proc/self/cgroup", lines); }
    machine& mounts(const std::string& lines) { return file("/proc/self/mountinfo", lines); }
    const std::string& root() const { return root_; }

private:
    std::string root_;
};

const std::string v2_mount =
    "24 18 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
const std::string v1_mount = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";

/// Version 2, mounted where it is mostly, with the process in `cgroup` ("" is the mount point), whose cpu.max this is.
class v2_machine : public machine {
public:
    v2_machine(const std::string& cgroup, const std::string& cpu_max) {
        cgroups("0::" + cgroup + (cgroup.empty() ? "/\n" : "\n")).mounts(v2_mount);
        limit(cgroup, cpu_max);
    }
    v2_machine& limit(const std::string& cgroup, const std::string& cpu_max) {
        file("/sys/fs/cgroup" + cgroup + "/cpu.max", cpu_max);
        return *this;
    }
};
}

TEST_CASE("cpu budget: without any cgroup file there is no quota") {
    const machine bare;
    CHECK(std::isinf(cpu_quota(bare.root())));
    CHECK(usable_cpus(bare.root()) == allowed_cpus());
}

TEST_CASE("cpu budget: version 2 limits by cpu.max of the process's own cgroup") {
    const v2_machine container("/app", "150000 100000\n");
    CHECK(cpu_quota(container.root()) == doctest::Approx(1.5));
}

TEST_CASE("cpu budget: the tightest of all ancestors counts") {
    v2_machine nested("/a/b/c", "800000 100000\n");
    nested.limit("/a/b", "max 100000\n").limit("/a", "50000 100000\n");
    CHECK(cpu_quota(nested.root()) == doctest::Approx(0.5));
    CHECK(usable_cpus(nested.root()) == 1);
}

TEST_CASE("cpu budget: the mount point itself may limit, as inside a container") {
    const v2_machine container("", "300000 100000\n");
    CHECK(cpu_quota(container.root()) == doctest::Approx(3));
}

TEST_CASE("cpu budget: version 1 limits by quota and period") {
    machine old;
    old.cgroups("9:memory:/x\n4:cpu,cpuacct:/docker/abc\n").mounts(v1_mount);
    old.file("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "250000\n");
    old.file("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
    CHECK(cpu_quota(old.root()) == doctest::Approx(2.5));
}

TEST_CASE("cpu budget: version 1 without a limit says -1") {
    machine old;
    old.cgroups("4:cpu:/\n").mounts("33 31 0:30 / /cg rw - cgroup cgroup rw,cpu\n");
    old.file("/cg/cpu.cfs_quota_us", "-1\n").file("/cg/cpu.cfs_period_us", "100000\n");
    CHECK(std::isinf(cpu_quota(old.root())));
}

TEST_CASE("cpu budget: cpuset and cpuacct are not cpu") {
    machine old;
    old.cgroups("4:cpuset:/\n3:cpuacct:/\n")
        .mounts("33 31 0:30 / /cg rw - cgroup cgroup rw,cpuset,cpuacct\n");
    old.file("/cg/cpu.cfs_quota_us", "100000\n").file("/cg/cpu.cfs_period_us", "100000\n");
    CHECK(std::isinf(cpu_quota(old.root())));
}

TEST_CASE("cpu budget: both versions at once, the tighter counts") {
    machine hybrid;
    hybrid.cgroups("4:cpu,cpuacct:/s\n0::/s\n")
        .mounts(v1_mount + "41 31 0:38 / /unified rw - cgroup2 cgroup2 rw\n");
    hybrid.file("/sys/fs/cgroup/cpu,cpuacct/s/cpu.cfs_quota_us", "400000\n");
    hybrid.file("/sys/fs/cgroup/cpu,cpuacct/s/cpu.cfs_period_us", "100000\n");
    hybrid.file("/unified/s/cpu.max", "200000 100000\n");
    CHECK(cpu_quota(hybrid.root()) == doctest::Approx(2));
}

TEST_CASE("cpu budget: a mount that shows a part of the hierarchy is joined to the path below that part") {
    machine container;
    container.cgroups("0::/docker/abc/inner\n");
    container.mounts("24 18 0:22 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    container.file("/sys/fs/cgroup/inner/cpu.max", "700000 100000\n");
    container.file("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    CHECK(cpu_quota(container.root()) == doctest::Approx(1));
}

TEST_CASE("cpu budget: a cgroup that the mount does not show is taken for the part that it shows") {
    for (const char* path :
         {"0::/../../elsewhere\n", "0::/other\n", "0::/docker/abcdef\n", "0::nonsense\n"}) {
        machine container;
        container.cgroups(path).mounts("24 18 0:22 /docker/abc /cg rw - cgroup2 cgroup2 rw\n");
        container.file("/cg/cpu.max", "100000 50000\n");
        CHECK(cpu_quota(container.root()) == doctest::Approx(2));
    }
}

TEST_CASE("cpu budget: blanks in a mount point are escaped, colons in a path are not") {
    machine odd;
    odd.cgroups("0::/a:b\n").mounts("24 18 0:22 / /my\\040cgroups rw - cgroup2 cgroup2 rw\n");
    odd.file("/my cgroups/a:b/cpu.max", "100000 100000\n");
    CHECK(cpu_quota(odd.root()) == doctest::Approx(1));
}

TEST_CASE("cpu budget: malformed files limit nothing") {
    for (const char* text : {"", "\n", "max", "max max", "100000", "100000 0", "0 100000", "-5 100000",
                             "x 100000", "100000 y", "nan 100000", "1e400 100000", "100000x 100000"}) {
        CAPTURE(text);
        const v2_machine broken("/a", text);
        CHECK(std::isinf(cpu_quota(broken.root())));
    }
    machine nonsense;
    nonsense.cgroups(":\n\n0\n0:\n::\n0::\n")
        .mounts("\n- - -\n1 2 3\n24 18 0:22 / /cg rw -\n24 18 0:22 / /cg rw - cgroup2\n");
    CHECK(std::isinf(cpu_quota(nonsense.root())));
}

TEST_CASE("cpu budget: parts of a processor are rounded up, and there is always one worker") {
    v2_machine small("", "1000 100000\n");
    CHECK(usable_cpus(small.root()) == 1);
    small.limit("", "110000 100000\n");
    CHECK(usable_cpus(small.root()) == std::min(2U, allowed_cpus()));
    small.limit("", "99900000 100000\n");
    CHECK(usable_cpus(small.root()) == allowed_cpus());
}

TEST_CASE("cpu budget: the affinity mask counts") {
    cpu_set_t before;
    REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
    CHECK(allowed_cpus() == static_cast<unsigned>(CPU_COUNT(&before)));
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu)
        if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(allowed_cpus() == 1);
    sched_setaffinity(0, sizeof before, &before);
}
