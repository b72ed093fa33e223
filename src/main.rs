//! Arguments, then one verb.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: weir::observe::Allocator = weir::observe::Allocator;

fn main() -> ExitCode {
    weir::cli::main()
}
