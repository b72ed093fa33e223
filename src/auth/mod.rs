//! Turns tokens, or what a trusted client says of itself, into an `Identity`: verifies them, looks the user up in a table,
//! maps claims.
//! Leaves to others: reading files (`config`), what an identity may do (`policy`), carrying out a close or a 401 (`listen`, `shard`).
//! In: `Credentials` and the time. Out: `Outcome`. Keys and rows that live behind a URL are fetched on the background runtime.

mod authenticator;
mod claims;
mod credentials;
mod fetch;
mod inspect;
mod issue;
mod jwks;
mod jwt;
mod key;
mod outcome;
mod remote;
mod settings;
mod stamp;
mod table;
#[cfg(test)]
mod tests;
mod trust;
mod trusted;

pub use authenticator::{Authenticator, Expiry};
pub use claims::lookup;
pub use credentials::Credentials;
pub use fetch::{Fetcher, HttpClient, address, http_client, root_cause};
pub use inspect::{Inspection, Unverified};
pub use issue::Issue;
pub use key::{Key, Keys};
pub use outcome::{Action, Cause, Outcome, Peek};
pub use settings::{
    Algorithm, CloseSettings, Expires, HeaderSetting, HmacSettings, JwksSettings, JwtSettings, KeySettings, OnFailed,
    OnMissing, Require, Settings, TableSettings, UnknownRow,
};
pub use table::{Lookup, Row, Table, Tables, Unavailable};
pub use trust::{Roots, Trust};
pub use trusted::{TrustedSettings, TrustedSource};

use crate::model::{Secret, SecretSource};

/// Reads a secret from where settings say it is; `config` knows how.
pub type Resolve<'a> = &'a dyn Fn(&SecretSource, Purpose) -> Result<Secret, String>;

/// What a secret is for: how weak it may be hangs on that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Weir knows others by it, or others know Weir: who guesses it, is let in.
    Verify,
    /// Another service made it for Weir to show.
    Send,
    /// Everybody may know it: a public key.
    Public,
}
