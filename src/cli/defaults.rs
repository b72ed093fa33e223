//! `weir defaults`: gateway.toml with every key, its default and its reason.

use super::files::fail;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only this section, such as `limits`.
    section: Option<String>,
}

const EXAMPLES: &str = "Examples:
  weir defaults > gateway.toml
  weir defaults limits";

/// A test holds it against the defaults in the code, key by key.
const SHIPPED: &str = include_str!("../../gateway.toml");

pub fn run(arguments: &Arguments) -> ExitCode {
    let Some(section) = &arguments.section else {
        put!("{SHIPPED}");
        return ExitCode::SUCCESS;
    };
    let text = of(section);
    if text.is_empty() {
        return fail(format!("gateway.toml has no section [{section}]"));
    }
    put!("{text}");
    ExitCode::SUCCESS
}

/// The tables `[section]` and `[section.NAME]`.
fn of(section: &str) -> String {
    let (mut text, mut inside) = (String::new(), false);
    for line in SHIPPED.lines().filter(|l| !l.starts_with("# ──")) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
            inside = name == section || name.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
        }
        if inside {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.trim_end().to_owned() + if text.is_empty() { "" } else { "\n" }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_section_is_printed_alone() {
        let limits = super::of("limits");
        assert!(limits.starts_with("[limits]\n") && limits.contains("\nconnections ") && !limits.contains("[key"));
        assert_eq!(super::of("listener").matches("[listener.").count(), 4);
        assert_eq!(super::of("limit"), "");
    }
}
