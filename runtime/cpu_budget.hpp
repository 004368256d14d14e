// cpu_budget: how many processors this process may really use.
//
// A container sees all processors of the machine and may use a fraction of them. More workers than that
// is worse than useless: they use the quota up early in each period, and then all stand still together.
//
//   usable = max(1, min(processors in the affinity mask, ceil(quota)))
//
// The quota is the smallest of all cgroups above the process, in both versions of the interface:
//
//   1  /proc/self/cgroup names the cgroup: "0::/a/b" (version 2), "4:cpu,cpuacct:/a/b" (version 1);
//   2  /proc/self/mountinfo says where each hierarchy is mounted, and which part of it;
//   3  each folder from there up to the mount point may limit: cpu.max in version 2,
//      cpu.cfs_quota_us and cpu.cfs_period_us in version 1.
//
// What is missing or malformed limits nothing. All paths are below `root`, so that tests bring their own.
#pragma once

#include <string>

namespace runnel::detail {

/// Processors that the scheduler lets this thread run on; at least 1.
unsigned allowed_cpus() noexcept;

/// The quota in processors (1.5 = one and a half), infinite when there is none.
double cpu_quota(const std::string& root = "/");

/// The two together, as a number of workers; at least 1.
unsigned usable_cpus(const std::string& root = "/");
}
