// The rows; see file_forms.hpp.
#include "file_forms.hpp"

#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <iterator>

#include <runnel/detail/io_backend.hpp>

namespace runnel::detail {

namespace {
constexpr std::size_t request_bytes_max = std::size_t{4} << 20;  // F3
constexpr std::size_t call_bytes_max = std::size_t{1} << 30;
constexpr unsigned op_ftruncate = 55;  // newer than the headers of liburing 2.3

static_assert(sizeof(file_piece) == sizeof(iovec) && offsetof(file_piece, bytes) == offsetof(iovec, iov_len));

iovec* vectors(const file_action& what) noexcept { return reinterpret_cast<iovec*>(what.room); }
unsigned request_pieces(const file_action& what) noexcept {
    return static_cast<unsigned>(what.fill_room(request_bytes_max));
}
int call_pieces(const file_action& what) noexcept { return static_cast<int>(what.fill_room(call_bytes_max)); }
unsigned request_bytes(const file_action& what) noexcept {
    return static_cast<unsigned>(std::min(what.left.bytes, request_bytes_max));
}
iovec call_piece(const file_action& what) noexcept {
    return {what.left.data, std::min(what.left.bytes, call_bytes_max)};
}

unsigned status_mask() noexcept { return STATX_BASIC_STATS | STATX_BTIME; }
const char* status_path(const file_action& what) noexcept { return what.path != nullptr ? what.path : ""; }
int status_flags(const file_action& what) noexcept {
    return static_cast<int>(what.flags) | (what.path == nullptr ? AT_EMPTY_PATH : 0);
}
off_t place(std::uint64_t offset) noexcept { return static_cast<off_t>(offset); }

// --- Requests --------------------------------------------------------------------------------------

void fill_open(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    io_uring_prep_openat(&to, fd, what.path, static_cast<int>(what.flags), what.mode);
}
void fill_read(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    if (what.room != nullptr)
        io_uring_prep_readv(&to, fd, vectors(what), request_pieces(what), what.offset);
    else
        io_uring_prep_read(&to, fd, what.left.data, request_bytes(what), what.offset);
}
void fill_write(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    if (what.room != nullptr)
        io_uring_prep_writev(&to, fd, vectors(what), request_pieces(what), what.offset);
    else
        io_uring_prep_write(&to, fd, what.left.data, request_bytes(what), what.offset);
}
void fill_sync(io_uring_sqe& to, int fd, const file_action&) noexcept { io_uring_prep_fsync(&to, fd, 0); }
void fill_sync_data(io_uring_sqe& to, int fd, const file_action&) noexcept {
    io_uring_prep_fsync(&to, fd, IORING_FSYNC_DATASYNC);
}
void fill_status(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    io_uring_prep_statx(&to, fd, status_path(what), status_flags(what), status_mask(),
                        static_cast<struct statx*>(what.out));
}
void fill_truncate(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    io_uring_prep_rw(op_ftruncate, &to, fd, nullptr, 0, what.offset);
}
void fill_allocate(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    io_uring_prep_fallocate(&to, fd, static_cast<int>(what.flags), place(what.offset), place(what.length));
}
void fill_make_directory(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    io_uring_prep_mkdirat(&to, fd, what.path, what.mode);
}
void fill_rename(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    io_uring_prep_renameat(&to, fd, what.path, fd, what.second_path, what.flags);
}
void fill_remove(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    io_uring_prep_unlinkat(&to, fd, what.path, static_cast<int>(what.flags));
}
void fill_link(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    io_uring_prep_linkat(&to, fd, what.path, fd, what.second_path, static_cast<int>(what.flags));
}
void fill_symbolic_link(io_uring_sqe& to, int fd, const file_action& what) noexcept {
    io_uring_prep_symlinkat(&to, what.path, fd, what.second_path);
}

// --- Calls -----------------------------------------------------------------------------------------

long call_open(int fd, const file_action& what) noexcept {
    return openat(fd, what.path, static_cast<int>(what.flags), what.mode);
}
/// With -1 as its place, which is own_position, it moves that.
long call_read(int fd, const file_action& what) noexcept {
    if (what.room != nullptr) return preadv2(fd, vectors(what), call_pieces(what), place(what.offset), 0);
    const iovec one = call_piece(what);
    return preadv2(fd, &one, 1, place(what.offset), 0);
}
long call_write(int fd, const file_action& what) noexcept {
    if (what.room != nullptr) return pwritev2(fd, vectors(what), call_pieces(what), place(what.offset), 0);
    const iovec one = call_piece(what);
    return pwritev2(fd, &one, 1, place(what.offset), 0);
}
long call_sync(int fd, const file_action&) noexcept { return fsync(fd); }
long call_sync_data(int fd, const file_action&) noexcept { return fdatasync(fd); }
long call_status(int fd, const file_action& what) noexcept {
    return statx(fd, status_path(what), status_flags(what), status_mask(),
                 static_cast<struct statx*>(what.out));
}
long call_truncate(int fd, const file_action& what) noexcept { return ftruncate(fd, place(what.offset)); }
long call_allocate(int fd, const file_action& what) noexcept {
    return fallocate(fd, static_cast<int>(what.flags), place(what.offset), place(what.length));
}
long call_set_mode(int fd, const file_action& what) noexcept { return fchmod(fd, what.mode); }
long call_make_directory(int fd, const file_action& what) noexcept {
    return mkdirat(fd, what.path, what.mode);
}
long call_rename(int fd, const file_action& what) noexcept {
    return syscall(SYS_renameat2, fd, what.path, fd, what.second_path, what.flags);
}
long call_remove(int fd, const file_action& what) noexcept {
    return unlinkat(fd, what.path, static_cast<int>(what.flags));
}
long call_link(int fd, const file_action& what) noexcept {
    return linkat(fd, what.path, fd, what.second_path, static_cast<int>(what.flags));
}
long call_symbolic_link(int fd, const file_action& what) noexcept {
    return symlinkat(what.path, fd, what.second_path);
}
long call_read_link(int fd, const file_action& what) noexcept {
    return readlinkat(fd, what.path, static_cast<char*>(what.left.data), what.left.bytes);
}
long call_list(int fd, const file_action& what) noexcept {
    return syscall(SYS_getdents64, fd, what.left.data, what.left.bytes);
}

constexpr unsigned no_request = file_form::no_request;

/// In the order of file_kind.
constexpr file_form forms[] = {
    {"open", IORING_OP_OPENAT, fill_open, call_open},
    {"read", IORING_OP_READ, fill_read, call_read},
    {"write", IORING_OP_WRITE, fill_write, call_write},
    {"sync", IORING_OP_FSYNC, fill_sync, call_sync},
    {"sync data", IORING_OP_FSYNC, fill_sync_data, call_sync_data},
    {"status", IORING_OP_STATX, fill_status, call_status},
    {"truncate", op_ftruncate, fill_truncate, call_truncate},
    {"allocate", IORING_OP_FALLOCATE, fill_allocate, call_allocate},
    {"set mode", no_request, nullptr, call_set_mode},
    {"make directory", IORING_OP_MKDIRAT, fill_make_directory, call_make_directory},
    {"rename", IORING_OP_RENAMEAT, fill_rename, call_rename},
    {"remove", IORING_OP_UNLINKAT, fill_remove, call_remove},
    {"link", IORING_OP_LINKAT, fill_link, call_link},
    {"symbolic link", IORING_OP_SYMLINKAT, fill_symbolic_link, call_symbolic_link},
    {"read link", no_request, nullptr, call_read_link},
    {"list", no_request, nullptr, call_list},
};
static_assert(std::size(forms) == file_kinds);
}

const file_form& form_of(file_kind kind) noexcept { return forms[static_cast<std::size_t>(kind)]; }
const char* name_of(file_kind kind) noexcept { return form_of(kind).name; }

void fill_file_request(io_uring_sqe& request, const io_action& what) noexcept {
    const file_action& file = file_of(what);
    form_of(file.kind).fill(request, what.fd, file);
}

void call_file(io_action& what) noexcept {
    const file_action& file = file_of(what);
    const auto call = form_of(file.kind).call;
    for (bool over = false; !over;) {
        const long answer = call(what.fd, file);
        over =
            answer >= 0 ? note_file_answer(what, answer) : errno != EINTR && note_file_answer(what, -errno);
    }
}

// --- What is left ------------------------------------------------------------------------------------

file_piece file_action::piece(std::size_t index) const noexcept {
    if (kind == file_kind::read) return {into[index].data(), into[index].size()};
    return {const_cast<std::byte*>(from[index].data()), from[index].size()};  // only read
}

std::size_t file_action::fill_room(std::size_t bytes_max) const noexcept {
    std::size_t count = 0, bytes = 0, skipped = used;
    for (std::size_t i = done; i < pieces() && count < pieces_at_once && bytes < bytes_max; ++i) {
        const file_piece whole_piece = piece(i);
        const std::size_t some = std::min(whole_piece.bytes - skipped, bytes_max - bytes);
        if (some > 0) room[count++] = {static_cast<std::byte*>(whole_piece.data) + skipped, some};
        bytes += some;
        skipped = 0;
    }
    return count;
}

std::size_t file_action::bytes_left() const noexcept {
    if (room == nullptr) return left.bytes;
    std::size_t sum = 0;
    for (std::size_t i = done; i < pieces(); ++i) sum += piece(i).bytes;
    return sum - used;
}

void file_action::advance(std::size_t by) noexcept {
    if (offset != own_position) offset += by;
    if (room == nullptr) {
        left = {static_cast<std::byte*>(left.data) + by, left.bytes - by};
        return;
    }
    used += by;
    for (; done < pieces() && used >= piece(done).bytes; ++done) used -= piece(done).bytes;
}

bool io_backend::has_position(int fd) noexcept { return lseek(fd, 0, SEEK_CUR) >= 0; }

/// Any other error is told by the real call.
long io_backend::read_file_now(int fd, const file_action& what) noexcept {
    const std::atomic_ref<bool> gives_at_once(*what.gives_at_once);
    // relaxed, here and below: who does not know it yet asks once more.
    if (!gives_at_once.load(std::memory_order_relaxed)) return -EAGAIN;
    iovec one{what.left.data, std::min(what.left.bytes, request_bytes_max)};
    const bool several = what.room != nullptr;
    const long answer = preadv2(fd, several ? vectors(what) : &one,
                                several ? static_cast<int>(what.fill_room(request_bytes_max)) : 1,
                                place(what.offset), RWF_NOWAIT);
    if (answer >= 0) return answer;
    if (errno == EOPNOTSUPP) gives_at_once.store(false, std::memory_order_relaxed);  // relaxed: see above
    return -EAGAIN;
}

bool note_file_answer(io_action& what, long answer) noexcept {
    file_action& file = file_of(what);
    if (answer < 0) {
        what.error = static_cast<int>(-answer);
        return true;
    }
    const auto count = static_cast<std::size_t>(answer);
    if (!file.moves()) {
        what.moved = count;
        return true;
    }
    what.moved += count;
    file.advance(count);
    if (count > 0) return !file.whole || file.bytes_left() == 0;
    if (file.kind == file_kind::write) what.error = EIO;  // it would take nothing for ever
    return true;
}
}
