//! The `sekisho` program: see [`sekisho::cli`].

/// Packs small things closer than glibc's allocator does, and gives memory back when connections have closed. Its
/// settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    sekisho::cli::main(give_back)
}

/// Starts jemalloc's own thread, which gives memory back when nobody allocates. Not before `main`: a thread keeps the
/// capabilities that the process was started with, and a gate is to have none.
fn give_back() {
    // Where it cannot be had, memory is given back as others allocate.
    let _ = tikv_jemalloc_ctl::background_thread::write(true);
}
