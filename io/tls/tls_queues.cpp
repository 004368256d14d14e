// tls_queues: the functions that a BIO is made of.
#include "tls_queues.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace runnel::detail {

namespace {

tls_queues& queues_of(BIO* bio) noexcept { return *static_cast<tls_queues*>(BIO_get_data(bio)); }

int read_incoming(BIO* bio, char* to, std::size_t room, std::size_t* moved) noexcept {
    BIO_clear_retry_flags(bio);
    tls_queues& on = queues_of(bio);
    *moved = std::min(room, on.incoming.size() - on.taken);
    if (*moved == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    std::memcpy(to, on.incoming.data() + on.taken, *moved);
    on.taken += *moved;
    if (on.taken == on.incoming.size()) {
        free_string(on.incoming);
        on.taken = 0;
    }
    return 1;
}

int write_produced(BIO* bio, const char* from, std::size_t bytes, std::size_t* moved) noexcept {
    BIO_clear_retry_flags(bio);
    *moved = 0;
    try {
        queues_of(bio).produced.append(from, bytes);
    } catch (const std::bad_alloc&) {
        return 0;
    }
    *moved = bytes;
    return 1;
}

long control(BIO*, int what, long, void*) noexcept { return what == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* make_method() noexcept {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "runnel");
    if (made == nullptr) return nullptr;
    BIO_meth_set_read_ex(made, read_incoming);
    BIO_meth_set_write_ex(made, write_produced);
    BIO_meth_set_ctrl(made, control);
    return made;
}
}

void tls_queues::feed(std::span<const std::byte> received) {
    if (taken > 0) {
        incoming.erase(0, taken);
        taken = 0;
    }
    incoming.append(reinterpret_cast<const char*>(received.data()), received.size());
}

BIO* make_bio(tls_queues& on) noexcept {
    static BIO_METHOD* const method = make_method();  // the process's, never freed
    BIO* const made = method != nullptr ? BIO_new(method) : nullptr;
    if (made == nullptr) return nullptr;
    BIO_set_data(made, &on);
    BIO_set_init(made, 1);
    return made;
}
}
