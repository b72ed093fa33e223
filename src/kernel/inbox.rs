//! How others reach a kernel.

use super::input::Input;

/// The way into one kernel: a queue in the order of sending.
pub trait Inbox: Send + Sync {
    /// Never waits, never refuses. Who could go without asks `is_full` before.
    fn put(&self, input: Input);
    /// Whether so much waits that questions are refused with `overloaded`.
    fn is_full(&self) -> bool;
    /// Whether so much waits that who feeds it should wait.
    fn is_congested(&self) -> bool;
}
