//! The `sekisho` program: see [`sekisho::cli`].

/// Packs small things closer than glibc's allocator does, and gives memory back when connections have closed. Its
/// settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    sekisho::cli::main()
}
