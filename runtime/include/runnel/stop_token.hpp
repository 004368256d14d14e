// stop_token: contexts and std::stop_token, both ways. The one public header that knows <stop_token>.
//
//   const rn::stop_token_context told(token);                 // from the world of std::jthread
//   auto end = co_await rn::with_context(told.ctx(), serve());
//
//   const rn::context_stop_token tell(rn::current_context()); // into it
//   auto end = co_await rn::blocking(crunch, tell.token());
//
// Who is told when is the same in both directions: request_stop() has cancelled the context when it returns, from
// whatever thread; a context that is cancelled asks the token by a task of its own, because asking runs callbacks of
// the user, and cancelling runs none of those (C4 of context.hpp).
//
// Not taken: a conversion, or a free function that gives the context alone. The registration with the token has a life
// of its own, and somebody must own it.
#pragma once

#include <optional>
#include <stop_token>
#include <utility>

#include "after_func.hpp"
#include "context.hpp"

namespace runnel {

/// A context that is cancelled when a stop_token is asked to stop, for as long as this object lives.
class stop_token_context {
public:
    /// A child of `parent`, born cancelled when the token has been asked already. `cause` is what ctx().cause() says
    /// when it was the token, as ctx().err() says errc::cancelled.
    /// Throws   std::bad_alloc.
    /// Threads  any, also outside a runtime. request_stop() may come from any thread, before, while or after a runtime
    ///          whose tasks wait under the context is there.
    /// Cost     that of with_cancel(), and a registration with the token.
    explicit stop_token_context(std::stop_token token, const context& parent = current_context(),
                                std::error_code cause = make_error_code(errc::cancelled),
                                std::source_location at = std::source_location::current())
        : made_(with_cancel(parent, at)), told_(std::move(token), canceller(made_.cancel, cause)) {}
    stop_token_context(const stop_token_context&) = delete;
    stop_token_context& operator=(const stop_token_context&) = delete;
    /// The context lives on by its handles, and no token reaches it any more. Waits for a request_stop() of another
    /// thread that is just cancelling it: a moment, in which no code of the user runs.
    ~stop_token_context() = default;

    const context& ctx() const noexcept { return made_.ctx; }
    /// Cancels the context; the token is not asked.
    const cancel_function& cancel() const noexcept { return made_.cancel; }

private:
    class canceller {
    public:
        canceller(cancel_function cancel, std::error_code cause) noexcept
            : cancel_(std::move(cancel)), cause_(cause) {}
        void operator()() const noexcept { cancel_(cause_); }

    private:
        cancel_function cancel_;
        std::error_code cause_;
    };

    cancellable made_;
    std::stop_callback<canceller> told_;
};

namespace detail {
inline task<> ask_to_stop(std::stop_source source) {
    source.request_stop();
    co_return;
}
}

/// A stop_token that is asked to stop when a context is cancelled, for as long as this object lives. Move-only.
class context_stop_token {
public:
    /// Of a context that is cancelled already the token has been asked when this returns.
    /// Threads  made inside a runtime, whose task asks: after_func(). A runtime that stops cancels what is below its
    ///          root, and so asks; on a context apart from that it asks no more. The token itself goes anywhere, and
    ///          may outlive the object, the context and the runtime.
    /// Cost     that of after_func(), and the allocation of a stop_source.
    explicit context_stop_token(const context& of,
                                std::source_location at = std::source_location::current()) {
        if (of.cancelled())
            source_.request_stop();
        else
            asks_.emplace(after_func(of, detail::ask_to_stop, source_, at));
    }
    context_stop_token(context_stop_token&&) noexcept = default;
    context_stop_token& operator=(context_stop_token&& other) noexcept {
        std::swap(source_, other.source_);
        std::swap(asks_, other.asks_);
        return *this;
    }
    /// The token is not asked any more, unless the context has been cancelled. Does not wait.
    ~context_stop_token() {
        if (asks_) asks_->stop();
    }

    std::stop_token token() const noexcept { return source_.get_token(); }

private:
    std::stop_source source_;
    std::optional<later> asks_;
};
}
