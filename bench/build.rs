//! Routes some of liburing's functions through `server/src/ring.rs`; see there.

fn main() {
    println!(
        "cargo::rustc-link-arg-bin=bare-responder=-Wl,--wrap=io_uring_queue_init_params,--wrap=io_uring_wait_cqes"
    );
    println!("cargo::rerun-if-changed=build.rs");
}
