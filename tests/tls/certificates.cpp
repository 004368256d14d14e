// Certificates by OpenSSL's own functions: the command need not be there.
#include "certificates.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <stdexcept>

namespace test {

namespace {

struct closes {
    void operator()(std::FILE* what) const noexcept { std::fclose(what); }
    void operator()(X509* what) const noexcept { X509_free(what); }
    void operator()(EVP_PKEY* what) const noexcept { EVP_PKEY_free(what); }
    void operator()(X509_EXTENSION* what) const noexcept { X509_EXTENSION_free(what); }
};
template <class T>
using owned = std::unique_ptr<T, closes>;

void must(bool well) {
    if (!well) throw std::runtime_error("a certificate could not be made");
}

owned<std::FILE> opened(const std::string& path, const char* how) {
    owned<std::FILE> file(std::fopen(path.c_str(), how));
    must(file != nullptr);
    return file;
}

void extend(X509& what, X509& by, int kind, const std::string& value) {
    X509V3_CTX about;
    X509V3_set_ctx(&about, &by, &what, nullptr, nullptr, 0);
    const owned<X509_EXTENSION> made(X509V3_EXT_conf_nid(nullptr, &about, kind, value.c_str()));
    must(made != nullptr && X509_add_ext(&what, made.get(), -1) == 1);
}

owned<EVP_PKEY> new_key() {
    owned<EVP_PKEY> key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    must(key != nullptr);
    return key;
}

/// Not signed yet.
owned<X509> draft(EVP_PKEY& key, const std::string& subject, int number, int from, int until) {
    constexpr long day = 24 * 60 * 60;
    owned<X509> made(X509_new());
    must(made != nullptr);
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), number);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), from * day);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), until * day);
    X509_set_pubkey(made.get(), &key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(subject.c_str()), -1, -1, 0);
    return made;
}

void write(const identity& where, X509& certificate, EVP_PKEY& key) {
    must(PEM_write_X509(opened(where.chain, "w").get(), &certificate) == 1);
    must(PEM_write_PrivateKey(opened(where.key, "w").get(), &key, nullptr, nullptr, 0, nullptr, nullptr) ==
         1);
}

/// "DNS:example.org,…" -> "example.org"
std::string first_name(const std::string& names) {
    const std::size_t begin = names.find(':') + 1;
    return names.substr(begin, names.find(',') - begin);
}
}

authority::authority(std::string name) : name_(std::move(name)) {
    const owned<EVP_PKEY> key = new_key();
    const owned<X509> own = draft(*key, name_, 1, -1, 30);
    X509_set_issuer_name(own.get(), X509_get_subject_name(own.get()));
    extend(*own, *own, NID_basic_constraints, "critical,CA:TRUE");
    extend(*own, *own, NID_key_usage, "critical,keyCertSign");
    must(X509_sign(own.get(), key.get(), nullptr) != 0);
    write({file(), path("authority.key")}, *own, *key);
}

identity authority::issue(const std::string& names, int from, int until) const {
    const owned<X509> own(PEM_read_X509(opened(file(), "r").get(), nullptr, nullptr, nullptr));
    const owned<EVP_PKEY> own_key(
        PEM_read_PrivateKey(opened(path("authority.key"), "r").get(), nullptr, nullptr, nullptr));
    must(own != nullptr && own_key != nullptr);
    const owned<EVP_PKEY> key = new_key();
    const std::string number = std::to_string(++made_);
    const owned<X509> made = draft(*key, first_name(names), 100 + made_, from, until);
    X509_set_issuer_name(made.get(), X509_get_subject_name(own.get()));
    extend(*made, *own, NID_subject_alt_name, names);
    must(X509_sign(made.get(), own_key.get(), nullptr) != 0);
    const identity where{path(number + ".pem"), path(number + ".key")};
    write(where, *made, *key);
    return where;
}

identity authority::self_signed(const std::string& names) const {
    const owned<EVP_PKEY> key = new_key();
    const owned<X509> made = draft(*key, first_name(names), 2, -1, 30);
    X509_set_issuer_name(made.get(), X509_get_subject_name(made.get()));
    extend(*made, *made, NID_subject_alt_name, names);
    must(X509_sign(made.get(), key.get(), nullptr) != 0);
    const identity where{path("self.pem"), path("self.key")};
    write(where, *made, *key);
    return where;
}
}
