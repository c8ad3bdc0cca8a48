fn main() -> std::process::ExitCode {
    zongji::serve::program_begins();
    zongji::cli::main()
}
