fn main() -> std::process::ExitCode {
    zongji::cli::main()
}
