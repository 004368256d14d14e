// file and its operations; see runnel/file.hpp.
#include <runnel/file.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <utility>

#include <runnel/detail/io_backend.hpp>

namespace runnel {

using detail::file_kind;
using detail::lane;

namespace detail {

io_action make_file_action() noexcept {
    io_action action{};
    action.kind = io_kind::file;
    action.fd = AT_FDCWD;
    return action;
}

const char* file_path::give(int& error) const noexcept {
    if (text_.find('\0') == text_.npos) return text_.c_str();
    error = EINVAL;
    return nullptr;
}
}

// --- Opening ---------------------------------------------------------------------------------------

int open_options::flags() const noexcept {
    const bool writes = write_ || append_;
    if (truncate_ && !writes) return -1;
    if (temporary_ && (!writes || append_ || truncate_ || create_)) return -1;
    int flags = O_CLOEXEC | O_NOCTTY;
    flags |= !writes ? O_RDONLY : read_ ? O_RDWR : O_WRONLY;
    if (append_) flags |= O_APPEND;
    if (create_) flags |= O_CREAT;
    // O_TMPFILE has a meaning of its own for O_EXCL: the file can have no name later.
    if (exclusive_) flags |= temporary_ ? O_EXCL : O_CREAT | O_EXCL;
    if (truncate_) flags |= O_TRUNC;
    if (temporary_) flags |= O_TMPFILE;
    if (!follow_) flags |= O_NOFOLLOW;
    return flags;
}

open_operation::open_operation(std::string path, const open_options& how, std::source_location at) noexcept
    : file_operation(file_kind::open), path_(std::move(path)), flags_(how.flags()), at_(at) {
    file_.flags = static_cast<unsigned>(flags_);
    file_.mode = how.mode();
}

void open_operation::place() noexcept {
    file_.path = path_.give(action_.error);
    if (flags_ < 0) action_.error = EINVAL;
}

result<file> open_operation::complete(transfer done) noexcept {
    if (done.error) return done.error;
    const int fd = static_cast<int>(done.bytes);
    return file(detail::descriptor(fd, detail::counted_kind::file, at_),
                detail::current_io().has_position(fd), (flags_ & O_APPEND) != 0);
}

// --- At an offset ----------------------------------------------------------------------------------

namespace {
/// A read that was to be whole ends short without an error at the end only.
transfer with_end(transfer done, const detail::file_action& what) noexcept {
    const bool ended = !done.error && what.kind == file_kind::read && what.bytes_left() > 0;
    return ended ? transfer(done.bytes, errc::end_of_stream) : done;
}
}

int file::error_at_offset() const noexcept { return has_position_ ? 0 : ESPIPE; }

file_transfer_operation::file_transfer_operation(file& on, file_kind kind, detail::file_piece piece,
                                                 std::uint64_t offset) noexcept
    : file_operation(on.file_, lane::call, kind) {
    action_.error = on.error_at_offset();
    file_.whole = true;
    file_.offset = offset;
    file_.left = piece;
    try_first_ = kind == file_kind::read;
    file_.gives_at_once = on.at_once();
}

transfer file_transfer_operation::complete(transfer done) noexcept { return with_end(done, file_); }

file_pieces_operation::file_pieces_operation(file& on, std::span<const std::span<std::byte>> into,
                                             std::uint64_t offset) noexcept
    : file_operation(on.file_, lane::call, file_kind::read) {
    action_.error = on.error_at_offset();
    file_.whole = true;
    file_.offset = offset;
    file_.into = into;
    try_first_ = true;
    file_.gives_at_once = on.at_once();
}

file_pieces_operation::file_pieces_operation(file& on, std::span<const std::span<const std::byte>> from,
                                             std::uint64_t offset) noexcept
    : file_operation(on.file_, lane::call, file_kind::write) {
    action_.error = on.error_at_offset();
    file_.whole = true;
    file_.offset = offset;
    file_.from = from;
}

transfer file_pieces_operation::complete(transfer done) noexcept { return with_end(done, file_); }

// --- By its position -------------------------------------------------------------------------------

file_read_operation::file_read_operation(file& from, std::span<std::byte> to) noexcept
    : file_operation(from.file_, lane::in, file_kind::read), of_(from) {
    file_.left = {to.data(), to.size()};
    try_first_ = true;
    file_.gives_at_once = from.at_once();
}

void file_read_operation::place() noexcept { file_.offset = of_.next_place(); }

result<std::size_t> file_read_operation::complete(transfer done) noexcept {
    of_.moved(done.bytes);
    if (done.bytes > 0) return done.bytes;
    if (done.error) return done.error;
    if (file_.left.bytes > 0) return errc::end_of_stream;
    return done.bytes;
}

file_receive_operation::file_receive_operation(file& from) noexcept
    : file_operation(from.file_, lane::in, file_kind::read), of_(from) {
    try_first_ = true;
    file_.gives_at_once = from.at_once();
}

file_receive_operation::~file_receive_operation() {
    if (buffer_ != nullptr) detail::give_back_buffer(buffer_);
}

void file_receive_operation::place() noexcept {
    file_.offset = of_.next_place();
    buffer_ = detail::current_io().buffers().take();
    if (buffer_ == nullptr) action_.error = ENOMEM;
    file_.left = {buffer_, detail::buffer_pool::buffer_bytes};
}

result<chunk> file_receive_operation::complete(transfer done) noexcept {
    of_.moved(done.bytes);
    if (done.bytes > 0) return detail::make_chunk::of(std::exchange(buffer_, nullptr), done.bytes);
    if (done.error) return done.error;
    return errc::end_of_stream;
}

file_write_operation::file_write_operation(file& to, std::span<const std::byte> from, bool whole) noexcept
    : file_operation(to.file_, lane::in, file_kind::write), of_(to) {
    file_.whole = whole;
    file_.left = {const_cast<std::byte*>(from.data()), from.size()};  // only read: see io_action.hpp
}

void file_write_operation::place() noexcept { file_.offset = of_.next_place(); }

transfer file_write_operation::complete(transfer done) noexcept {
    if (!of_.appends_) of_.moved(done.bytes);
    return done;
}

// --- As a whole ------------------------------------------------------------------------------------

file_call_operation::file_call_operation(detail::descriptor& on, file_kind kind, std::uint64_t offset,
                                         std::uint64_t length, unsigned flags, unsigned mode) noexcept
    : file_operation(on, lane::call, kind) {
    file_.offset = offset;
    file_.length = length;
    file_.flags = flags;
    file_.mode = mode;
}

status_operation::status_operation(detail::descriptor& of) noexcept
    : file_operation(of, lane::call, file_kind::status), of_path_(false) {}

status_operation::status_operation(std::string path, bool follow_link) noexcept
    : file_operation(file_kind::status), path_(std::move(path)), of_path_(true) {
    file_.flags = follow_link ? 0 : AT_SYMLINK_NOFOLLOW;
}

void status_operation::place() noexcept {
    static_assert(sizeof(struct statx) == sizeof raw_ && alignof(struct statx) <= 8);
    file_.out = raw_;
    if (of_path_) file_.path = path_.give(action_.error);
}

namespace {
file_type type_of(unsigned mode) noexcept {
    switch (mode & S_IFMT) {
        case S_IFREG:
            return file_type::regular;
        case S_IFDIR:
            return file_type::directory;
        case S_IFLNK:
            return file_type::symbolic_link;
        case S_IFIFO:
            return file_type::pipe;
        case S_IFSOCK:
            return file_type::socket;
        case S_IFCHR:
            return file_type::character_device;
        case S_IFBLK:
            return file_type::block_device;
        default:
            return file_type::unknown;
    }
}

file_time time_of(const statx_timestamp& time) noexcept {
    return file_time(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}
}

result<file_status> status_operation::complete(transfer done) noexcept {
    if (done.error) return done.error;
    const auto& found = *reinterpret_cast<const struct statx*>(raw_);
    file_status status;
    status.type = type_of(found.stx_mode);
    status.mode = found.stx_mode & 07777;
    status.size = found.stx_size;
    status.allocated = found.stx_blocks * 512;
    status.inode = found.stx_ino;
    status.device = makedev(found.stx_dev_major, found.stx_dev_minor);
    status.links = found.stx_nlink;
    status.owner = found.stx_uid;
    status.group = found.stx_gid;
    status.modified = time_of(found.stx_mtime);
    status.changed = time_of(found.stx_ctime);
    status.accessed = time_of(found.stx_atime);
    if ((found.stx_mask & STATX_BTIME) != 0) status.created = time_of(found.stx_btime);
    return status;
}
}
