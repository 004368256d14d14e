// simulated_files: the file system of a simulation, in memory; the calls of detail/file_action.hpp, played.
//
// A node is a file, a directory or a link; directories have names for nodes, an open file has one node and a number.
// Numbers begin at two millions, so that one that gets into a call of the system by mistake means nothing there. Each
// call gives what Linux would give, a count or -errno; the same tests run on both.
//
//   N1  a node is there as long as a name or an open file has it;
//   N2  what a crash leaves is kept beside what is there now: sync() of a node copies the one over the other;
//   N3  chance is drawn from the simulation's medium, 0 is the undisturbed way.
//
// Not simulated: permissions (who runs a simulation may do all), and times but those of changes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <runnel/detail/file_action.hpp>
#include <runnel/testing_files.hpp>

#include "simulated_medium.hpp"

namespace runnel::detail {

struct simulated_node {
    using names = std::map<std::string, std::shared_ptr<simulated_node>, std::less<>>;

    explicit simulated_node(std::uint64_t& counts_in) noexcept : used(counts_in) {}
    simulated_node(const simulated_node&) = delete;
    simulated_node& operator=(const simulated_node&) = delete;
    ~simulated_node() { used -= content.size(); }

    std::uint64_t& used;  // bytes of all nodes
    std::uint64_t inode = 0;
    unsigned mode = 0;  // with the bits that say what it is
    unsigned links = 0;
    nanoseconds_t changed = 0;
    std::string content;  // of a link: its text
    names entries;
    std::string synced_content;  // N2
    names synced_entries;
};

class simulated_files {
public:
    explicit simulated_files(simulated_medium& by);
    ~simulated_files();

    /// How long the next operation takes.
    nanoseconds_t latency() noexcept;
    /// One call. A count, or -errno.
    long perform(int fd, const file_action& what);

    bool owns(int fd) const noexcept;
    int close(int fd) noexcept;

    void use(const testing::disk& how) noexcept { how_ = how; }
    void crash();

private:
    using node = std::shared_ptr<simulated_node>;
    struct open_file {
        node of;
        unsigned flags = 0;
        std::string listed;  // the last name that list has given
        bool lost = false;   // before a crash
    };
    /// Where a path leads.
    struct place {
        node directory;    // in which the last name is
        std::string name;  // "" for the root
        node found;        // null: nothing has that name
        int error = 0;
    };

    place find(std::string_view path, bool follow_last);
    bool find_from(std::vector<node>& way, std::string_view path, bool follow_last, unsigned& links_left,
                   place& at);
    node make(unsigned mode);
    void name(simulated_node& directory, const std::string& as, const node& what);
    void unname(simulated_node& directory, const std::string& what);
    void forget(simulated_node& of, std::set<const simulated_node*>& seen);
    open_file* find_open(int fd) const noexcept;

    long on_path(const file_action& what);
    long on_file(open_file& file, const file_action& what);
    long open(const file_action& what);
    long give_number(const node& of, unsigned flags);
    long read(open_file& file, const file_action& what);
    long write(open_file& file, const file_action& what);
    long resize(simulated_node& of, std::uint64_t size);
    long sync(simulated_node& of);
    long status(const simulated_node& of, const file_action& what) const noexcept;
    long list(open_file& file, const file_action& what);
    long make_directory(const file_action& what);
    long rename(const file_action& what);
    long remove(const file_action& what);
    long link(const file_action& what);
    long symbolic_link(const file_action& what);
    long read_link(const file_action& what);
    long status_of_path(const file_action& what);

    simulated_medium& by_;
    testing::disk how_;
    std::uint64_t used_ = 0;
    std::uint64_t last_inode_ = 1;
    node root_;
    std::vector<std::unique_ptr<open_file>> open_;
};
}
