//! The files of plugins' tests: which there are, and whose. What stands in them is `harness`'s to read.

use super::file::AppFile;
use super::files::Files;
use crate::model::{Fault, Problem};
use std::path::Path;

/// The largest test file.
pub const TEST_BYTES_MAX: u64 = 1 << 20;

/// Reads all tests, where they decide too: the files' digest and the watch know them then.
pub(super) fn read(files: &Files, faults: &mut Vec<Fault>) {
    match files.tests() {
        Err(why) => faults.push(Fault::of_file("plugins", why)),
        // What is wrong with one is told when it is played.
        Ok(found) => found.iter().for_each(|path| drop(files.read(path, TEST_BYTES_MAX))),
    }
}

/// A plugin that nothing tests.
pub(super) fn untested(file: &AppFile, files: &Files) -> Vec<Problem> {
    let Some(name) = &file.plugin else { return Vec::new() };
    // A folder that cannot be read is told where it is needed.
    let tested = files.tests().unwrap_or_default().iter().any(|path| plugin_of(path) == name);
    if tested {
        return Vec::new();
    }
    let hint =
        format!("conversations in plugins/{name}.test are played by `weir test` (\"Testing plugins\" in README.md)");
    vec![Problem::new("plugin", format!("nothing tests the plugin `{name}`")).hint(Some(hint))]
}

/// `clinic` of `plugins/clinic.test` and `plugins/clinic.queue.test`.
pub fn plugin_of(path: &Path) -> &str {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}
