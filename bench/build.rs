//! Routes glommio's ring setup through `server/src/ring.rs`; see there.

fn main() {
    println!("cargo::rustc-link-arg-bins=-Wl,--wrap=io_uring_queue_init_params");
    println!("cargo::rerun-if-changed=build.rs");
}
