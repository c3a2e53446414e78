//! The binary `kassa`. All of it is in the library: see `cli`.

fn main() -> std::process::ExitCode {
    kassa::cli::main()
}
